"""The file work of the caption editor: reading, writing, undo and conversion, in threads; messages bring it back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.message import Message
from textual.worker import get_current_worker

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.dataset.caption_edits import CaptionHistory, caption_texts
from fluxgym_tui.dataset.captions import read_caption
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.ui.messages import ActionFailed
from fluxgym_tui.ui.screens.draft_screen import DraftScreen

if TYPE_CHECKING:
    from fluxgym_tui.dataset.staging import StageSource
    from fluxgym_tui.dataset.tokens import TokenCounts
    from fluxgym_tui.ui.picture_rows import PictureRow


@dataclass
class CaptionRead(Message):
    """The whole caption of the picture `file`; `problem` where it is no text or cannot be read."""

    file: str
    text: str
    problem: str | None


@dataclass
class TextsRead(Message):
    """The captions for a change of many: their texts, which they are, and how the change begins."""

    texts: Mapping[Path, str]
    of: str
    prefix: str
    lacking: str


@dataclass
class CaptionsWritten(Message):
    """Captions changed on the disk. `told` is for people, empty where nothing needs saying."""

    told: str


@dataclass
class RowsReady(Message):
    """The rows of the picture list and the folders they are of; `wanted` says what they were made from."""

    rows: "tuple[PictureRow, ...]"
    sources: "tuple[StageSource, ...]"
    wanted: tuple[object, ...]


@dataclass
class TokensCounted(Message):
    """The tokens of the caption in the editor."""

    counts: "TokenCounts"


class CaptionWork(DraftScreen):
    """A screen that edits captions through one history."""

    def __init__(self) -> None:
        super().__init__()
        self.history = CaptionHistory()
        self._jobs: list[Callable[[], str]] = []

    @work(thread=True, exclusive=True, group="caption-read", exit_on_error=False)
    def read_caption(self, image: ScannedImage) -> None:
        """Read the caption of `image`; a `CaptionRead` comes."""
        worker = get_current_worker()
        text, problem = "", None
        path = image.caption_path
        if path is None and image.path.with_suffix(".txt").exists():
            path = image.path.with_suffix(".txt")  # written since the scan
        if path is not None:
            try:
                read = read_caption(path)
                text = read.text.rstrip()
                problem = "it is not text" if read.problem == "binary" else None
            except OSError as error:
                problem = error.strerror or str(error)
        if not worker.is_cancelled:
            self.post_message(CaptionRead(image.file, text, problem))

    # Described here, else Textual describes it by the words of its arguments: all pictures.
    @work(thread=True, exclusive=True, group="caption-texts", description="read captions", exit_on_error=False)
    def read_texts(self, images: Sequence[ScannedImage], *, of: str, prefix: str = "", lacking: str = "") -> None:
        """Read the captions of `images`; a `TextsRead` comes."""
        self.post_message(TextsRead(caption_texts(images), of, prefix, lacking))

    @work(thread=True, exclusive=True, group="caption-tokens", exit_on_error=False)
    def count_tokens(self, text: str, cache_dir: Path | None) -> None:
        """Count the tokens of a caption; a `TokensCounted` comes."""
        from fluxgym_tui.dataset.tokens import count_tokens  # libraries of 0.3 s, for those who write captions

        worker = get_current_worker()
        counts = count_tokens(text, cache_dir=cache_dir)
        if not worker.is_cancelled:
            self.post_message(TokensCounted(counts))

    # Jobs wait in a row: the history is used by one thread at a time, and none is dropped.

    def write_captions(self, texts: Mapping[Path, str], *, what: str, merge: bool = False) -> None:
        """Write captions; a `CaptionsWritten` comes."""
        told = "" if merge else "{} changed."

        def write() -> str:
            number = self.history.write(texts, what=what, merge=merge)
            return told.format(count(number, "caption")) if number else ""

        self._queue(write)

    def undo_captions(self, *, redo: bool) -> None:
        """Take the last change back, or make it again."""

        def turn() -> str:
            what, kept = self.history.redo() if redo else self.history.undo()
            done = "is done again" if redo else "is taken back"
            if not kept:
                return f"{what} {done}."
            names = ", ".join(terminal_safe(path.name) for path in kept[:3])
            return f"{what} {done}, but for {count(len(kept), 'file')} changed meanwhile: {names}"

        self._queue(turn)

    def convert_captions(self, paths: Sequence[Path]) -> None:
        """Convert captions to UTF-8."""

        def convert() -> str:
            backups = self.history.convert(paths)
            return f"{count(len(backups), 'caption')} converted to UTF-8; the old bytes lie beside them as .bak."

        self._queue(convert)

    def _queue(self, job: Callable[[], str]) -> None:
        self._jobs.append(job)
        if len(self._jobs) == 1:
            self._work_off(job)

    @work(thread=True, group="caption-write", exit_on_error=False)
    def _work_off(self, job: Callable[[], str]) -> None:
        told = ""
        try:
            told = job()
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
        self.post_message(CaptionsWritten(told))

    def on_captions_written(self, message: CaptionsWritten) -> None:
        """Begin the next job, tell, and look at the folder anew."""
        self._jobs.pop(0)
        if self._jobs:
            self._work_off(self._jobs[0])
        if message.told:
            self.notify(message.told)
        if not self._jobs:
            self._look(rescan=True)
        self.refresh_bindings()
