"""The question before quitting while a run is alive."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui.screens.dialog import Dialog


class QuitScreen(Dialog[str]):
    """Answers "leave", "stop" or "stay"; the focus is on the one that harms nothing."""

    def __init__(self, alive: tuple[RunSummary, ...]) -> None:
        super().__init__()
        self._alive = alive

    def compose(self) -> ComposeResult:
        names = ", ".join(terminal_safe(summary.name) for summary in self._alive[:3])
        more = f" and {len(self._alive) - 3} more" if len(self._alive) > 3 else ""
        it = "it" if len(self._alive) == 1 else "them"
        with Vertical(classes="dialog"):
            yield Static(f"{count(len(self._alive), 'run')} alive: {names}{more}", classes="dialog-title", markup=False)
            yield Static(
                "Training does not need this window. Leave, and fluxgym-tui shows it again from any terminal.",
                markup=False,
            )
            with Horizontal(classes="dialog-buttons"):
                yield Button(f"Leave {it} running", id="leave", variant="primary")
                yield Button(f"Stop {it}", id="stop", variant="error")
                yield Button("Stay", id="stay")

    def on_mount(self) -> None:
        self.query_one("#leave").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Hand back which button it was."""
        self.dismiss(event.button.id)
