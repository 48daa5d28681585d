"""Where a draft comes from and where it is kept: the spec's file, and beside it every word as it was typed."""

import json
from dataclasses import dataclass
from dataclasses import replace as changed_copy
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import read_json, write_atomic, write_json
from fluxgym_tui.config.by_hand import carry_edits, hand_edits
from fluxgym_tui.config.spec import TrainSpec, output_name
from fluxgym_tui.config.spec_edit import update_spec_text
from fluxgym_tui.config.specfile import build_spec, dump_spec, load_spec, spec_data
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.config.yaml_text import decode
from fluxgym_tui.ui.draft import OpenedDraft, Value, typed_values
from fluxgym_tui.ui.draft_fields import NAME, PATH, PROMPTS, TRIGGER

TYPED = ".typed.json"  # in configs/: the newest draft word for word, also what is no spec yet


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedDraft:
    """What saving came to: the file that holds the spec now, and in `held` why it was not written, if so."""

    version: int
    file: Path | None
    mtime_ns: int | None
    held: str = ""


def open_draft(workspace: Workspace, *, path: Path | None = None, trigger: str | None = None) -> OpenedDraft:
    """The draft to begin with: that of `path` (a folder of pictures or a spec), else the newest of `workspace`.

    Raises:
        FluxgymError: the file at `path` is no spec.
    """
    typed = _typed_before(workspace)
    if path is None:
        opened = typed or _newest(workspace) or OpenedDraft(base={}, values=blank_values())
    elif path.is_dir():
        opened = _of_folder(workspace, path.absolute(), typed)
    else:
        opened = _of_file(path.absolute(), typed)
    if trigger:
        values = dict(opened.values)
        if str(values.get(PROMPTS, "")).strip() in ("", str(values.get(TRIGGER, "")).strip()):
            values[PROMPTS] = trigger.strip()
        values[TRIGGER] = trigger.strip()
        opened = changed_copy(opened, values=values, fresh=opened.fresh or values != opened.values)
    return opened


def open_spec(path: Path) -> OpenedDraft:
    """The draft that the spec at `path` is.

    Raises:
        FluxgymError: as `load_spec`.
    """
    return _draft_of(load_spec(path), file=path, note=f"{path.name} is open.")


def clone_spec(path: Path, *, workspace: Workspace) -> OpenedDraft:
    """A new draft with the settings of the spec at `path`, a run's say; its name is one that no saved spec has.

    Raises:
        FluxgymError: as `load_spec`.
    """
    spec = load_spec(path)
    name = _free_name(spec, workspace)
    note = f"The settings of {spec.name}, as {name}."
    if edited := " and ".join(edit.name for edit in hand_edits(path)):
        note += f" Its {edited}, edited by hand, stays with it: `fluxgym-tui train {path}` uses it."
    return _named(spec, name, note=note)


def imported_draft(spec: TrainSpec, *, workspace: Workspace, note: str) -> OpenedDraft:
    """A new draft with settings that came from another program; its name is one that no saved spec has."""
    return _named(spec, _free_name(spec, workspace), note=note)


def _free_name(spec: TrainSpec, workspace: Workspace) -> str:
    name, number = spec.name, 2
    while (workspace.root / "configs" / f"{output_name(name)}.yaml").exists():
        name, number = f"{spec.name} {number}", number + 1
    return name


def _named(spec: TrainSpec, name: str, *, note: str) -> OpenedDraft:
    begun = _draft_of(spec)
    return OpenedDraft(base=begun.base, values={**begun.values, NAME: name}, fresh=True, note=note)


def saved_specs(workspace: Workspace) -> list[Path]:
    """The specs saved in the workspace, the one used last first."""
    folder = workspace.root / "configs"
    found = [(path.stat().st_mtime_ns, path) for path in folder.glob("*.yaml") if not path.name.startswith(".")]
    return [path for _, path in sorted(found, reverse=True)]


def save_draft(
    *,
    workspace: Workspace,
    version: int,
    base: dict[str, Any],
    values: dict[str, Value],
    file: Path | None,
    mtime_ns: int | None,
    spec: TrainSpec | None,
    settled: bool,
    replace: bool = False,
) -> SavedDraft:
    """Keep a draft: every word in `.typed.json`, and where it is a spec the spec's file, comments in it left alone.

    Until `settled` (a name is half typed, say) the spec's file is not written. A file that is another's, or was
    changed by another program, is written only with `replace`.

    Raises:
        FluxgymError: a file cannot be written.
    """
    folder = workspace.configs
    target = _target(folder, file, spec)
    try:
        saved = SavedDraft(version=version, file=file, mtime_ns=mtime_ns)
        if spec is not None and settled and target is not None:
            saved = _save_spec(spec, target, version=version, file=file, mtime_ns=mtime_ns, replace=replace)
        kept = {"file": None if saved.file is None else str(saved.file), "base": _plain(base), "values": values}
        write_json(folder / TYPED, kept)
    except OSError as error:
        raise FluxgymError(
            f"cannot save in {folder}: {error.strerror}", hint="Check that the disk has room and the folder is yours."
        ) from error
    return saved


def _save_spec(
    spec: TrainSpec, target: Path, *, version: int, file: Path | None, mtime_ns: int | None, replace: bool
) -> SavedDraft:
    text = None
    if target.exists():
        now = target.stat().st_mtime_ns
        reason = ""
        if target != file:
            reason = f"{target.name} is another spec"
        elif mtime_ns is not None and now != mtime_ns:
            reason = f"{target.name} was changed by another program"
        if reason and not replace:
            return SavedDraft(version=version, file=file, mtime_ns=mtime_ns, held=reason)
        if not reason:
            text = decode(target.read_bytes(), origin=str(target))
    written = _text(spec, text, target)
    if written != text:
        write_atomic(target, written)
    if file is not None and file != target:
        carry_edits(file, target)
    return SavedDraft(version=version, file=target, mtime_ns=target.stat().st_mtime_ns)


def _text(spec: TrainSpec, before: str | None, target: Path) -> str:
    if before is None:
        return dump_spec(spec, comments=True)
    try:
        return update_spec_text(before, spec, folder=target.parent, origin=str(target))
    except FluxgymError:
        return dump_spec(spec, comments=True)  # it was no spec any more


def _target(configs: Path, file: Path | None, spec: TrainSpec | None) -> Path | None:
    """A spec that was opened from elsewhere stays there; in the workspace the file has the spec's name."""
    if file is not None and file.parent != configs:
        return file
    return None if spec is None else configs / f"{spec.output_name}.yaml"


def _draft_of(spec: TrainSpec, *, file: Path | None = None, note: str = "") -> OpenedDraft:
    mtime_ns = None if file is None else file.stat().st_mtime_ns
    return OpenedDraft(base=spec_data(spec), values=typed_values(spec), file=file, mtime_ns=mtime_ns, note=note)


def blank_values() -> dict[str, Value]:
    """The fields of a new spec: its defaults, and neither name nor folder."""
    values = typed_values(build_spec({"name": "new", "dataset": {"path": "."}}))
    return {**values, NAME: "", PATH: ""}


def _of_folder(workspace: Workspace, folder: Path, typed: OpenedDraft | None) -> OpenedDraft:
    if typed is not None and typed.values.get(PATH) == str(folder):
        return typed
    for path in saved_specs(workspace):
        try:
            spec = load_spec(path)
        except FluxgymError:
            continue  # a broken file is no reason not to begin
        if spec.dataset.path == folder:
            return _draft_of(spec, file=path, note=f"{path.name}, last used for this folder, is open.")
    return new_draft(folder)


def new_draft(folder: Path) -> OpenedDraft:
    """A new draft for the pictures in `folder`, named like it."""
    name = folder.name if output_name(folder.name) else ""
    return OpenedDraft(base={}, values={**blank_values(), NAME: name, PATH: str(folder)}, fresh=True)


def _of_file(path: Path, typed: OpenedDraft | None) -> OpenedDraft:
    if typed is not None and typed.file == path and typed.mtime_ns == path.stat().st_mtime_ns:
        return typed
    return open_spec(path)


def _newest(workspace: Workspace) -> OpenedDraft | None:
    for path in saved_specs(workspace):
        try:
            return open_spec(path)
        except FluxgymError:
            continue  # the next one
    return None


def _typed_before(workspace: Workspace) -> OpenedDraft | None:
    """What was typed last; None where nothing was, or the file is damaged."""
    path = workspace.root / "configs" / TYPED
    try:
        kept = read_json(path)
        base, values, file = kept["base"], kept["values"], kept["file"]
        known = blank_values()
        typed: dict[str, Value] = {
            key: values[key] if isinstance(values.get(key), type(default)) else default
            for key, default in known.items()
        }
        spec_file = None if file is None else Path(file)
        mtime_ns = None if spec_file is None or not spec_file.exists() else spec_file.stat().st_mtime_ns
        if mtime_ns is not None and mtime_ns > path.stat().st_mtime_ns:
            return None  # the file was changed since by hand: that is newer
        return OpenedDraft(base=dict(base), values=typed, file=spec_file, mtime_ns=mtime_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _plain(base: dict[str, Any]) -> Any:
    """`base` as JSON has it: paths and words of YAML as text."""
    return json.loads(json.dumps(base, default=str))
