"""One sample as large as the terminal allows; arrows flick through steps and prompts."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.sample_table import SampleTable
from fluxgym_tui.ui.widgets.key_bar import KeyBar
from fluxgym_tui.ui.widgets.picture import Picture


class ZoomScreen(ModalScreen[tuple[int, int]]):
    """Answers with the row and column that was shown last."""

    DEFAULT_CSS = """
    ZoomScreen { background: $background; align: left top; }
    ZoomScreen #base { margin-right: 1; }
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
        yield KeyBar()

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
