"""Writing captions on the Dataset screen: one in the editor, or many at once with a look before."""

import os
import shlex
import subprocess
from pathlib import Path

from textual import on
from textual.app import SuspendNotSupported
from textual.timer import Timer
from textual.widgets import Static, TextArea

from fluxgym_tui.base.text import count
from fluxgym_tui.dataset.caption_edits import caption_file
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.ui.draft_fields import TRIGGER
from fluxgym_tui.ui.picture_rows import PictureRow
from fluxgym_tui.ui.picture_words import caption_line
from fluxgym_tui.ui.screens.caption_work import CaptionRead, CaptionWork, TextsRead

WRITE_AFTER_S = 0.8
_CONVERTIBLE = ("caption_bom", "caption_not_utf8")


class CaptionEditing(CaptionWork):
    """A screen with picture rows and an editor (`#caption`, `#caption-title`) for the caption of the current one."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[PictureRow, ...] = ()
        self.shown: tuple[PictureRow, ...] = ()
        self.marked: set[str] = set()
        self._current: str | None = None
        self._loaded: tuple[str, str] | None = None  # the picture whose caption stands in the editor, and its text
        self._text = ""  # what stands in the editor; it is asked for when the editor is gone already
        self._write_timer: Timer | None = None
        self._convertible: list[Path] = []

    def on_caption_read(self, message: CaptionRead) -> None:
        """Show the caption; what is being typed stays."""
        editor = self.query_one("#caption", TextArea)
        same = self._loaded is not None and self._loaded[0] == message.file
        if message.file != self._current or (same and (editor.has_focus or self._dirty)):
            return
        self._loaded, self._text = (message.file, message.text), message.text
        if editor.text != message.text:
            with self.prevent(TextArea.Changed):
                editor.load_text(message.text)
        editor.read_only = False
        self._tell_caption(message.problem)

    def _tell_caption(self, problem: str | None = None) -> None:
        trigger = str(self.draft.values.get(TRIGGER, "")).strip()
        self.query_one("#caption-title", Static).update(caption_line(self._text, trigger=trigger, problem=problem))

    @property
    def _dirty(self) -> bool:
        return self._loaded is not None and self._text.rstrip() != self._loaded[1]

    @on(TextArea.Changed, "#caption")
    def _typed(self) -> None:
        if self._loaded is None:
            return
        self._text = self.query_one("#caption", TextArea).text
        self._tell_caption()
        if self._write_timer is not None:
            self._write_timer.stop()
        self._write_timer = self.set_timer(WRITE_AFTER_S, self.flush)

    def flush(self) -> None:
        """Write the caption that was typed."""
        if not self._dirty or self._loaded is None:
            return
        file, text = self._loaded[0], self._text.rstrip()
        row = next((row for row in self.rows if row.file == file), None)
        if row is not None and row.image is not None:
            self._loaded = (file, text)
            self.write_captions({caption_file(row.image): text}, what=f"the caption of {row.name}", merge=True)

    def on_unmount(self) -> None:
        """The app ends: a caption half a second old is written, too."""
        if self._dirty and self._loaded is not None:
            row = next((row for row in self.rows if row.file == self._loaded[0]), None)
            if row is not None and row.image is not None:
                self.history.write({caption_file(row.image): self._text}, what="the end")

    def on_texts_read(self, message: TextsRead) -> None:
        """Show what a change of many would do."""
        from fluxgym_tui.ui.screens.bulk_captions import BulkCaptionsScreen

        def answered(changes: dict[Path, str] | None) -> None:
            if changes:
                self._loaded = None
                self.write_captions(changes, what=f"the change of {count(len(changes), 'caption')}")

        if not message.texts:
            self.notify(f"There is no caption to change ({message.of}).", severity="warning")
            return
        self.app.push_screen(
            BulkCaptionsScreen(message.texts, of=message.of, prefix=message.prefix, lacking=message.lacking), answered
        )

    def _chosen_images(self) -> tuple[list[ScannedImage], str]:
        """The marked pictures, else all that are shown; and the words for them."""
        rows = [row for row in self.rows if row.file in self.marked] or list(self.shown)
        images = [row.image for row in rows if row.image is not None]
        kind = "marked" if self.marked else ("shown" if len(self.shown) != len(self.rows) else "all")
        return images, f"{kind}, {count(len(images), 'picture')}"

    def _find_convertible(self) -> None:
        """Note which captions are no plain UTF-8; the keys ask for it at every move."""
        scan = self.draft.scan
        problems = [] if scan is None else scan.problems
        self._convertible = [Path(one.path) for one in problems if one.code in _CONVERTIBLE and one.path]

    def action_bulk(self) -> None:
        """Change many captions."""
        self.flush()
        images, of = self._chosen_images()
        self.read_texts(images, of=of)

    def action_trigger(self) -> None:
        """Put the trigger before captions that lack it."""
        self.flush()
        trigger = str(self.draft.values[TRIGGER]).strip()
        images, of = self._chosen_images()
        self.read_texts(images, of=f"those that lack the trigger; {of}", prefix=f"{trigger}, ", lacking=trigger)

    def action_convert(self) -> None:
        """Convert all captions that are no UTF-8."""
        self._loaded = None
        self.convert_captions(self._convertible)

    def action_undo(self) -> None:
        """Take the last change of captions back."""
        self._loaded = None
        self.undo_captions(redo=False)

    def action_redo(self) -> None:
        """Make the change again that was taken back."""
        self._loaded = None
        self.undo_captions(redo=True)

    def action_editor(self) -> None:
        """Write the caption in the user's own editor; the app waits in the background."""
        row = next((row for row in self.rows if row.file == self._current), None)
        if row is None or row.image is None:
            return
        self.flush()
        command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            with self.app.suspend():
                subprocess.run([*shlex.split(command), str(caption_file(row.image))], check=False)
        except (OSError, ValueError, SuspendNotSupported) as error:
            self.notify(f"{command} cannot be started: {error}. Set EDITOR to another one.", severity="error")
        self._loaded = None
        self._look(rescan=True)
        self.read_caption(row.image)
