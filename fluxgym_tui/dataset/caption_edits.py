"""Changes of captions that can be taken back: single ones and many at once, never over somebody else's change."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.dataset.captions import convert_to_utf8, read_caption, write_caption
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.dataset.triggers import has_trigger

CLIP_TOKENS = 77
T5_TOKENS = 512
_PIECE = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class BulkEdit:
    """What is done to many captions, in this order: `find` becomes `replace`, then `prefix` and `suffix` are added.

    Prefix and suffix go to the first line, for that is trained. With `lacking` only captions without those words are
    changed.
    """

    prefix: str = ""
    suffix: str = ""
    find: str = ""
    replace: str = ""
    lacking: str = ""

    def of(self, text: str) -> str:
        """`text` changed."""
        if self.lacking and has_trigger(text.partition("\n")[0], self.lacking):
            return text
        changed = text.replace(self.find, self.replace) if self.find else text
        first, newline, rest = changed.rstrip().partition("\n")
        return f"{self.prefix}{first}{self.suffix}{newline}{rest}"


@dataclass(frozen=True, slots=True)
class _Change:
    """A caption file before and after; None where there was none."""

    path: Path
    before: bytes | None
    after: bytes | None


@dataclass(slots=True)
class _Step:
    what: str
    changes: list[_Change]


@dataclass(slots=True)
class CaptionHistory:
    """Writes captions and remembers what was there. Its methods do file work: call them in a thread, one at a time."""

    _done: list[_Step] = field(default_factory=list)
    _undone: list[_Step] = field(default_factory=list)

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back."""
        return self._done[-1].what if self._done else None

    @property
    def redoable(self) -> str | None:
        """What `redo` would do again."""
        return self._undone[-1].what if self._undone else None

    def write(self, texts: Mapping[Path, str], *, what: str, merge: bool = False) -> int:
        """Write captions by their files; how many differ from before. `what` names it for undo.

        With `merge` a step of the same name just before is taken together with this one: one undo for one typing.

        Raises:
            FluxgymError: a file cannot be written; those before it are, and can be taken back.
        """
        step = _Step(what, [])
        try:
            for path, text in texts.items():
                before = _bytes(path)
                if before is not None and before.decode("utf-8", "replace").rstrip() == text.rstrip():
                    continue
                if before is None and not text.strip():
                    continue
                write_caption(path, text)
                step.changes.append(_Change(path, before, _bytes(path)))
        except OSError as error:
            raise _failed(error) from error
        finally:
            self._keep(step, merge=merge)
        return len(step.changes)

    def convert(self, paths: Iterable[Path]) -> list[Path]:
        """Convert captions to UTF-8, each with a backup; the backups.

        Raises:
            FluxgymError: one is no text or cannot be written; those before it are converted.
        """
        step = _Step("converting to UTF-8", [])
        backups = []
        try:
            for path in paths:
                before = path.read_bytes()
                backup = convert_to_utf8(path)
                if backup is not None:
                    backups.append(backup)
                    step.changes.append(_Change(path, before, _bytes(path)))
        except OSError as error:
            raise _failed(error) from error
        finally:
            self._keep(step, merge=False)
        return backups

    def _keep(self, step: _Step, *, merge: bool) -> None:
        if not step.changes:
            return
        self._undone.clear()
        if merge and self._done and self._done[-1].what == step.what:
            last = {change.path: change for change in self._done[-1].changes}
            for change in step.changes:
                first = last.get(change.path)
                last[change.path] = _Change(change.path, first.before if first else change.before, change.after)
            self._done[-1].changes = list(last.values())
        else:
            self._done.append(step)

    def undo(self) -> tuple[str, list[Path]]:
        """Put back what was there before the last step; its name, and files that stayed as others changed them since.

        Raises:
            FluxgymError: a file cannot be written.
        """
        step = self._done.pop()
        self._undone.append(step)
        return step.what, _put(step.changes, forward=False)

    def redo(self) -> tuple[str, list[Path]]:
        """Do the step again that was taken back last; as `undo`."""
        step = self._undone.pop()
        self._done.append(step)
        return step.what, _put(step.changes, forward=True)


def caption_file(image: ScannedImage) -> Path:
    """Where the caption of `image` is, or would be written: a .txt beside it."""
    return image.caption_path or image.path.with_suffix(".txt")


def bulk_changes(edit: BulkEdit, texts: Mapping[Path, str]) -> dict[Path, str]:
    """The captions of `texts` that `edit` changes, changed."""
    changed = {path: edit.of(text) for path, text in texts.items()}
    return {path: text for path, text in changed.items() if text.rstrip() != texts[path].rstrip()}


def caption_texts(images: Iterable[ScannedImage]) -> dict[Path, str]:
    """The whole texts of the captions there are, by file. A file that cannot be read is left out."""
    texts = {}
    for image in images:
        path = image.caption_path
        if path is None:
            continue
        try:
            read = read_caption(path)
        except OSError:
            continue  # it vanished, or may not be read: the scan tells
        if read.problem != "binary":
            texts[path] = read.text.rstrip()
    return texts


def estimated_tokens(text: str) -> int:
    """About how many tokens CLIP and T5 make of `text`: a quarter more than words and signs, and two marks."""
    return round(len(_PIECE.findall(text)) * 1.25) + 2 if text.strip() else 0


def _put(changes: list[_Change], *, forward: bool) -> list[Path]:
    kept = []
    try:
        for change in changes:
            here, there = (change.before, change.after) if forward else (change.after, change.before)
            if _bytes(change.path) != here:
                kept.append(change.path)
            elif there is None:
                change.path.unlink(missing_ok=True)
            else:
                write_atomic(change.path, there)
    except OSError as error:
        raise _failed(error) from error
    return kept


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _failed(error: OSError) -> FluxgymError:
    return FluxgymError(
        f"cannot write the caption {error.filename}: {error.strerror}",
        hint="Check that the disk has room and the folder is yours.",
    )
