"""Writing captions on the Dataset screen: one in the editor, or many at once with a look before."""

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.timer import Timer
from textual.widgets import Static, TextArea

from fluxgym_tui.base.text import count
from fluxgym_tui.dataset.caption_edits import T5_TOKENS, caption_file
from fluxgym_tui.dataset.captions import trained_caption
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.ui.draft_fields import TRIGGER
from fluxgym_tui.ui.picture_rows import PictureRow
from fluxgym_tui.ui.picture_words import caption_line
from fluxgym_tui.ui.screens.caption_work import CaptionRead, CaptionWork, TextsRead, TokensCounted

if TYPE_CHECKING:
    from fluxgym_tui.dataset.tokens import TokenCounts

WRITE_AFTER_S = 0.8
_T5_TOKENS_SCHNELL = 256
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
        self._counts: TokenCounts | None = None
        self._asked: tuple[str, Path | None] | None = None  # whose tokens are counted, by which tokenizers
        self._unreadable: str | None = None

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
        self._unreadable = problem
        self._draw_caption_line()
        files = None if self.draft.ready is None else self.draft.ready.files
        asked = (trained_caption(self._text), None if files is None else files.tokenizer_cache_dir)
        if asked[0] and problem is None and asked != self._asked:
            self._asked = asked
            self.count_tokens(*asked)

    def on_tokens_counted(self, message: TokensCounted) -> None:
        """Tell the exact numbers."""
        self._counts = message.counts
        self._draw_caption_line()

    def _draw_caption_line(self) -> None:
        row = self._row_loaded()
        line = caption_line(
            self._text,
            trigger="" if row is None else row.trigger,
            problem=self._unreadable,
            counts=self._counts,
            t5_tokens=self._t5_tokens(),
        )
        self.query_one("#caption-title", Static).update(line)

    def _t5_tokens(self) -> int:
        """How much of a caption T5 reads: as the flag says, else as the base model does."""
        ready = self.draft.ready
        if ready is None:
            return T5_TOKENS
        said = ready.flags.get("t5xxl_max_token_length")
        if isinstance(said, int):
            return said
        return _T5_TOKENS_SCHNELL if "schnell" in f"{ready.model.key} {ready.model.base}".lower() else T5_TOKENS

    def _row_loaded(self) -> PictureRow | None:
        """The picture whose caption stands in the editor."""
        if self._loaded is None:
            return None
        return next((row for row in self.rows if row.file == self._loaded[0]), None)

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
        row = self._row_loaded()
        if row is None or row.image is None:
            self._loaded = None
            self.notify(f"{Path(file).name} is gone; its caption was not written: {text}", severity="warning")
        else:
            self._loaded = (file, text)
            self.write_captions({caption_file(row.image): text}, what=f"the caption of {row.name}", merge=True)

    def on_unmount(self) -> None:
        """The app ends: a caption half a second old is written, too."""
        if self._dirty and self._loaded is not None:
            row = self._row_loaded()
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

    def _chosen_images(self, *, trigger: str | None = None) -> tuple[list[ScannedImage], str]:
        """The marked pictures, else all that are shown; and the words for them.

        With `trigger` only those of folders whose captions should have it: regularisation has none.
        """
        rows = [row for row in self.rows if row.file in self.marked] or list(self.shown)
        images = [row.image for row in rows if row.image is not None and trigger in (None, row.trigger)]
        kind = "marked" if self.marked else ("shown" if len(self.shown) != len(self.rows) else "all")
        return images, f"{kind}, {count(len(images), 'picture')}"

    def find_convertible(self) -> None:
        """Note which captions are no plain UTF-8; the keys ask for it at every move."""
        problems = [one for scan in self.draft.scans.values() for one in scan.problems]
        self._convertible = [Path(one.path) for one in problems if one.code in _CONVERTIBLE and one.path]

    def action_bulk(self) -> None:
        """Change many captions."""
        self.flush()
        images, of = self._chosen_images()
        self.read_texts(images, of=of)

    def action_trigger(self) -> None:
        """Put the trigger before captions that lack it."""
        self.flush()
        here = next((row for row in self.rows if row.file == self._current), None)
        own = here.trigger if here is not None else ""  # a folder may have another one than the spec
        trigger = own or str(self.draft.values[TRIGGER]).strip()
        images, of = self._chosen_images(trigger=trigger)
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

    async def action_editor(self) -> None:
        """Write the caption in the user's own editor; the app waits in the background."""
        from fluxgym_tui.ui.outside import edit_file

        row = next((row for row in self.rows if row.file == self._current), None)
        if row is None or row.image is None:
            return
        self.flush()
        await edit_file(self.fluxgym, caption_file(row.image))
        self._loaded = None
        self._look(rescan=True)
        self.read_caption(row.image)

    def action_copy(self) -> None:
        """The path of the picture under the cursor, to the clipboard."""
        from fluxgym_tui.ui.outside import copy_text

        if self._current is not None:
            copy_text(self.fluxgym, self._current, "the picture's path")

    def action_copy_caption(self) -> None:
        """The caption in the editor, to the clipboard."""
        from fluxgym_tui.ui.outside import copy_text

        copy_text(self.fluxgym, self._text, "the caption")
