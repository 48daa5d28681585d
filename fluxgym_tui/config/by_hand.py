"""Files of a run that were edited by hand: they lie beside their spec, and are what its next run trains from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import read_json, write_atomic, write_json

DATASET_TOML: Final = "dataset.toml"
TRAIN_SH: Final = "train.sh"
NAMES: Final = (TRAIN_SH, DATASET_TOML)
_RECORD = "by-hand.json"  # beside them: what each was made from, and for which folders


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlaces:
    """What a run's files say of the run itself: its name, its folder, and the folder of its staged pictures."""

    output_name: str
    output_dir: Path
    staged: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HandEdit:
    """An edited file: `name` is train.sh or dataset.toml, `path` where it lies.

    `places` are those that its text names; `made_from` is the text as the parameters had it then. Both are None for a
    file that was put there without this program.
    """

    name: str
    path: Path
    text: str
    places: RunPlaces | None = None
    made_from: str | None = None

    def text_for(self, places: RunPlaces, *, written_for: RunPlaces) -> str:
        """The text for the run at `places`.

        Where it is not recorded which places it names, they are those of `written_for`, the spec's own name, or of a
        later run of it (`NAME-2`).
        """
        return moved(self.text, self.places or _named_places(self.text, written_for), places)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandEdits:
    """The edited files of one spec; None where a file is as the parameters have it."""

    train_sh: HandEdit | None = None
    dataset_toml: HandEdit | None = None

    def __iter__(self) -> Iterator[HandEdit]:
        return (edit for edit in (self.train_sh, self.dataset_toml) if edit is not None)

    def __bool__(self) -> bool:
        return self.train_sh is not None or self.dataset_toml is not None

    def get(self, name: str) -> HandEdit | None:
        """The edited file of that name."""
        return next((edit for edit in self if edit.name == name), None)


def edit_path(spec_file: Path, name: str) -> Path:
    """Where the edited file `name` of the spec at `spec_file` lies: `hrld.yaml` -> `hrld.train.sh`."""
    return spec_file.with_name(f"{spec_file.stem}.{name}")


def hand_edits(spec_file: Path | None) -> HandEdits:
    """The edited files beside the spec at `spec_file`; none without a file. One that is empty counts for nothing.

    Raises:
        FluxgymError: one is there and cannot be read.
    """
    if spec_file is None:
        return HandEdits()
    found: dict[str, HandEdit] = {}
    record: dict[str, Any] | None = None
    for name in NAMES:
        path = edit_path(spec_file, name)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise FluxgymError(
                f"{path}, edited by hand, cannot be read: {error}", hint="Mend it as UTF-8 text, or remove it."
            ) from error
        if not text.strip():
            continue  # `command SPEC > NAME.train.sh` begins with an empty one
        record = _record(spec_file) if record is None else record
        said = record.get(name, {})
        found[name] = HandEdit(name=name, path=path, text=text, places=_places(said), made_from=said.get("made_from"))
    return HandEdits(train_sh=found.get(TRAIN_SH), dataset_toml=found.get(DATASET_TOML))


def keep_edit(spec_file: Path, name: str, text: str, *, made_from: str | None, places: RunPlaces | None) -> None:
    """Keep `text` as the edited file `name` of the spec at `spec_file`.

    Raises:
        FluxgymError: it cannot be written.
    """
    said: dict[str, Any] = {"made_from": made_from}
    if places is not None:
        said["places"] = [places.output_name, str(places.output_dir), str(places.staged)]
    try:
        write_json(edit_path(spec_file, _RECORD), {**_record(spec_file), name: said})
        write_atomic(edit_path(spec_file, name), text)
    except OSError as error:
        raise FluxgymError(
            f"cannot write {edit_path(spec_file, name)}: {error.strerror}",
            hint="Check that the disk has room and the folder is yours.",
        ) from error


def discard_edit(spec_file: Path, name: str) -> None:
    """Remove the edited file `name`: the parameters decide again.

    Raises:
        FluxgymError: it cannot be removed.
    """
    try:
        edit_path(spec_file, name).unlink(missing_ok=True)
        record = {other: said for other, said in _record(spec_file).items() if other != name}
        if record:
            write_json(edit_path(spec_file, _RECORD), record)
        else:
            edit_path(spec_file, _RECORD).unlink(missing_ok=True)
    except OSError as error:
        raise FluxgymError(
            f"cannot remove {edit_path(spec_file, name)}: {error.strerror}", hint="Remove it yourself."
        ) from error


def carry_edits(old: Path, new: Path) -> None:
    """Give the spec at `new` the edited files of the one at `old`, which it was saved as before.

    Raises:
        FluxgymError: they cannot be read or written.
    """
    if hand_edits(new):
        return
    for edit in hand_edits(old):
        keep_edit(new, edit.name, edit.text, made_from=edit.made_from, places=edit.places)


def moved(text: str, old: RunPlaces, new: RunPlaces) -> str:
    """`text` with the folders and the name of one run in place of another's."""
    for before, after in ((old.output_dir, str(new.output_dir)), (old.staged, str(new.staged))):
        end = r"(?=[/'\"\s]|$)"
        text = after.join(re.split(rf"{re.escape(str(before))}{end}", text))
    name = rf"(--(?:output_name|log_prefix)[ =]['\"]?){re.escape(old.output_name)}(?=-?['\"]?(?:\s|$))"
    return re.sub(name, lambda found: found[1] + new.output_name, text)


def _named_places(text: str, first: RunPlaces) -> RunPlaces:
    """The places that `text` names: `first`, or those of a later run of that name."""

    def number(before: str) -> str:
        found = re.search(rf"{re.escape(before)}(-\d+)?(?=[/'\"\s]|$)", text)
        return "" if found is None else found[1] or ""

    name, folder, staged = first.output_name, first.output_dir, first.staged
    numbered = number(f"--output_name {name}") or number(f"--output_name={name}")
    return RunPlaces(
        output_name=name + numbered,
        output_dir=folder.with_name(folder.name + number(str(folder))),
        staged=staged.with_name(staged.name + number(str(staged))),
    )


def _record(spec_file: Path) -> dict[str, Any]:
    try:
        data = read_json(edit_path(spec_file, _RECORD))
    except (OSError, ValueError):
        return {}  # without it the edited files stand all the same
    return {name: said for name, said in data.items() if isinstance(said, dict)} if isinstance(data, dict) else {}


def _places(said: dict[str, Any]) -> RunPlaces | None:
    try:
        name, output_dir, staged = said["places"]
        return RunPlaces(output_name=str(name), output_dir=Path(output_dir), staged=Path(staged))
    except (KeyError, ValueError, TypeError):
        return None
