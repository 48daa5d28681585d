"""A picture from a file, as large as its room; read and drawn in a thread."""

from pathlib import Path

from textual import work
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.pictures import Shares, draw_picture


class Picture(Widget):
    """A picture in the middle of its room; drawn in a thread, the old one stays until the new one is there."""

    DEFAULT_CSS = "Picture { width: 1fr; height: 1fr; }"

    class Drawn(Message):
        """The picture is ready; None where the file cannot be shown."""

        def __init__(self, path: Path, strips: list[Strip] | None) -> None:
            super().__init__()
            self.path, self.strips = path, strips

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour
        self._path: Path | None = None
        self._kept: Shares | None = None
        self._strips: list[Strip] | None = []

    def show(self, path: Path | None, *, kept: Shares | None = None) -> None:
        """Show the file at `path`; of a picture that is cropped, `kept` is the part that stays."""
        self._path, self._kept = path, kept
        if path is None:
            self._strips = []
            self.refresh()
        self._ask()

    def on_resize(self) -> None:
        """Another room, another picture."""
        self._ask()

    def _ask(self) -> None:
        if self._path is not None and self.size.width and self.size.height:
            self._draw(self._path, self.size, self._kept)

    @work(thread=True, exclusive=True, group="picture", exit_on_error=False)
    def _draw(self, path: Path, size: Size, kept: Shares | None) -> None:
        try:
            strips: list[Strip] | None = draw_picture(path, size.width, size.height, colour=self._colour, kept=kept)
        except (OSError, ValueError):
            strips = None
        self.post_message(self.Drawn(path, strips))

    def on_picture_drawn(self, message: Drawn) -> None:
        """The picture came."""
        if message.path == self._path:
            self._strips = message.strips
            self.refresh()

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
