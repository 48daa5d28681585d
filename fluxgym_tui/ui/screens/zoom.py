"""One sample as large as the terminal allows; arrows flick through steps and prompts."""

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Footer, Static

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.pictures import draw_picture
from fluxgym_tui.ui.sample_table import SampleTable


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
        self._strips: list[Strip] | None = []

    def show(self, path: Path | None) -> None:
        """Show the file at `path`."""
        self._path = path
        self._ask()

    def on_resize(self) -> None:
        """Another room, another picture."""
        self._ask()

    def _ask(self) -> None:
        if self._path is not None and self.size.width and self.size.height:
            self._draw(self._path, self.size)

    @work(thread=True, exclusive=True, group="picture", exit_on_error=False)
    def _draw(self, path: Path, size: Size) -> None:
        try:
            strips: list[Strip] | None = draw_picture(path, size.width, size.height, colour=self._colour)
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


class ZoomScreen(ModalScreen[tuple[int, int]]):
    """Answers with the row and column that was shown last."""

    DEFAULT_CSS = """
    ZoomScreen { background: $background; align: left top; }
    ZoomScreen Static { height: 1; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "leave", "back", tooltip="Back to the grid."),
        Binding("left,h", "move(0, -1)", "step before", tooltip="The picture of the step before."),
        Binding("right,l", "move(0, 1)", "next step", tooltip="The picture of the next step."),
        Binding("up,k", "move(-1, 0)", "prompt before", tooltip="The picture of the prompt before."),
        Binding("down,j", "move(1, 0)", "next prompt", tooltip="The picture of the next prompt."),
        Binding("b", "beside", "beside base", tooltip="The base model's picture beside this one."),
    ]

    def __init__(
        self, table: SampleTable, row: int, column: int, *, prompts: list[str], colour: bool, beside_base: bool
    ) -> None:
        super().__init__()
        self._table, self._row, self._column, self._prompts = table, row, column, prompts
        self._colour, self._beside = colour, beside_base

    def compose(self) -> ComposeResult:
        yield Static("", id="where", markup=False)
        with Horizontal():
            with Vertical(id="base"):
                yield Static("base model, no LoRA", markup=False)
                yield Picture(colour=self._colour)
            with Vertical(id="lora"):
                yield Static("", id="lora-title", markup=False)
                yield Picture(colour=self._colour)
        yield Static("", id="prompt", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._show()

    def action_leave(self) -> None:
        """Back to the grid."""
        self.dismiss((self._row, self._column))

    def action_move(self, rows: int, columns: int) -> None:
        """Flick to another step or prompt."""
        self._row = max(0, min(self._row + rows, len(self._table.prompts) - 1))
        self._column = max(0, min(self._column + columns, len(self._table.moments) - 1))
        self._show()

    def action_beside(self) -> None:
        """The base model's picture beside this one, or this one alone."""
        self._beside = not self._beside
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a picture of the base model there is nothing to put beside."""
        return None if action == "beside" and self._table.words(0) != "base model" else True

    def _show(self) -> None:
        table, index = self._table, self._table.prompts[self._row]
        self.query_one("#base").display = self._beside
        self.query_one("#lora-title").display = self._beside
        self.query_one("#lora-title", Static).update(f"with the LoRA at {table.words(self._column)}")
        event = table.at(self._row, self._column)
        base = table.at(self._row, 0)
        self.query_one("#lora Picture", Picture).show(None if event is None else table.path_of(event))
        self.query_one("#base Picture", Picture).show(None if base is None else table.path_of(base))
        seed = "" if event is None or event.seed is None else f"  seed {event.seed}"
        missing = "  not drawn" if event is None else ""
        place = f"{self._column + 1} of {len(table.moments)}"
        self.query_one("#where", Static).update(f"{table.words(self._column)}{missing}  ({place}){seed}")
        prompt = self._prompts[index] if index < len(self._prompts) else "prompt not known"
        self.query_one("#prompt", Static).update(f"prompt {index + 1}: {terminal_safe(prompt)}")
