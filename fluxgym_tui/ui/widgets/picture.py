"""A picture from a file, as large as its room; read and drawn in a thread."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.control import Control
from rich.segment import ControlType, Segment
from textual import work
from textual.content import Content
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import get_current_worker

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.graphics import Graphics
from fluxgym_tui.ui.pictures import Shares, draw_picture

if TYPE_CHECKING:
    from fluxgym_tui.ui.pixels import PixelPicture


class Picture(Widget):
    """A picture in the middle of its room; drawn in a thread, the old one stays until the new one is there.

    In pixels where the terminal has said that it can, else in half blocks.
    """

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; }"

    class Drawn(Message):
        """The picture is ready; both None where the file cannot be shown."""

        def __init__(
            self,
            path: Path,
            strips: list[Strip] | None,
            pixels: "PixelPicture | None",
            version: tuple[object, ...] | None,
        ) -> None:
            super().__init__()
            self.path, self.strips, self.pixels, self.version = path, strips, pixels, version

    def __init__(self, *, colour: bool, graphics: Graphics | None = None) -> None:
        super().__init__()
        self._colour = colour
        self._graphics = graphics if colour else None
        self._path: Path | None = None
        self._kept: Shares | None = None
        self._strips: list[Strip] | None = []
        self._pixels: PixelPicture | None = None
        self._shown: tuple[object, ...] | None = None  # what is shown, and in which version

    def show(self, path: Path | None, *, kept: Shares | None = None) -> None:
        """Show the file at `path`; of a picture that is cropped, `kept` is the part that stays."""
        self._path, self._kept = path, kept
        if path is None:
            self._shown = None
            self._take([], None)
        self._ask()

    def on_resize(self) -> None:
        """Another room, another picture."""
        self._ask()

    def on_mount(self) -> None:
        """A terminal that was lent to another program has forgotten its pictures."""
        if self._graphics is not None:
            self.app.app_resume_signal.subscribe(self, self._draw_again)

    def _draw_again(self, _: object) -> None:
        self._shown = None
        self._ask()

    def on_unmount(self) -> None:
        """The terminal need not keep it."""
        self._take([], None)

    def _ask(self) -> None:
        if self._path is not None and self.size.width and self.size.height:
            self._draw(self._path, self.size, self._kept)

    @work(thread=True, exclusive=True, group="picture", exit_on_error=False)
    def _draw(self, path: Path, size: Size, kept: Shares | None) -> None:
        worker = get_current_worker()
        pixels, strips, version = None, None, None
        try:
            found = path.stat()
            version = (path, size, kept, found.st_mtime_ns, found.st_size)
            if version == self._shown:
                return  # it is there: nothing need go to the terminal once more
            if self._graphics is not None:
                from fluxgym_tui.ui.pixels import draw_pixels  # only for terminals that draw pixels

                pixels = draw_pixels(path, size.width, size.height, graphics=self._graphics, kept=kept)
                strips = pixels.strips
            else:
                strips = draw_picture(path, size.width, size.height, colour=self._colour, kept=kept)
        except (OSError, ValueError):
            version = None
        if not worker.is_cancelled:  # else one that was asked for later is on its way
            self.post_message(self.Drawn(path, strips, pixels, version))

    def on_picture_drawn(self, message: Drawn) -> None:
        """The picture came."""
        if message.path == self._path:
            self._shown = message.version
            self._take(message.strips, message.pixels)

    def _take(self, strips: list[Strip] | None, pixels: "PixelPicture | None") -> None:
        """Show this from now on, and let the terminal forget the one before."""
        before, self._strips, self._pixels = self._pixels, strips, pixels
        self._write(("" if pixels is None else pixels.before) + ("" if before is None else before.after))
        self.refresh()

    def _write(self, sequence: str) -> None:
        """Hand the terminal what is no text, in its order among the frames."""
        driver = self.app._driver
        if sequence and driver is not None:
            driver.write(sequence)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Sixel is put over empty cells, after the last of them: its pixels are in no cell that could be cached."""
        pixels = self._pixels
        if pixels is None or not pixels.pixels:
            return super().render_lines(crop)
        lines = [Strip.blank(crop.width, self.visual_style.rich_style) for _ in range(crop.height)]
        fits = pixels.room == (self.size.width, self.size.height)  # else the one that does is on its way
        if lines and fits and self.screen.is_active and crop.size == self.size:
            at = self.region.offset + Offset((crop.width - pixels.columns) // 2, (crop.height - pixels.rows) // 2)
            end = self.region.bottom_right
            parts = (
                Control.move_to(at.x, at.y).segment.text,
                pixels.pixels,
                Control.move_to(end.x, end.y - 1).segment.text,
            )
            sixel = [Segment(part, control=[(ControlType.CURSOR_FORWARD, 0)]) for part in parts]
            lines[-1] = Strip([*lines[-1], *sixel], crop.width)
        return lines

    def render_line(self, y: int) -> Strip:
        """Line `y`, the picture in the middle."""
        width, plain = self.size.width, self.visual_style.rich_style
        strips = self._strips
        if strips is None:
            words = f"{self._path.name if self._path else ''} cannot be shown" if y == self.size.height // 2 else ""
            return Strip(list(Content(terminal_safe(words)).render_segments(self.visual_style))).crop_extend(
                0, width, plain
            )
        top = (self.size.height - len(strips)) // 2
        if not 0 <= y - top < len(strips):
            return Strip.blank(width, plain)
        strip = strips[y - top].apply_style(plain)
        left = (width - strip.cell_length) // 2
        return Strip.join([Strip.blank(left, plain), strip]).crop_extend(0, width, plain)
