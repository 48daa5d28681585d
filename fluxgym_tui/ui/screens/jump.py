"""Jump mode: a letter over everything that can take the focus, and over the tabs."""

from typing import Any

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from fluxgym_tui.ui.screens import SCREENS
from fluxgym_tui.ui.screens.dialog import Dialog

_LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class JumpScreen(Dialog[str]):
    """Press a letter: the widget below it has the focus. A digit answers with the name of its screen."""

    DEFAULT_CSS = """
    JumpScreen { background: $background 40%; align: left top; layers: labels; }
    JumpScreen .label {
        position: absolute; width: 3; height: 1; background: $warning; color: $background; text-style: bold;
        text-align: center;
    }
    JumpScreen #hint { dock: bottom; height: 1; background: $panel; }
    """

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._targets: dict[str, Widget] = dict(zip(_LETTERS, jump_targets(below), strict=False))

    def compose(self) -> ComposeResult:
        for letter, widget in self._targets.items():
            label = Static(f" {letter} ", classes="label", markup=False)
            label.styles.offset = (widget.region.x, widget.region.y)
            yield label
        yield Static(" Press a letter to go there, a digit for a screen, esc to stay", id="hint")

    def on_key(self, event: events.Key) -> None:
        """Go where the key says; any other key stays."""
        event.stop()
        event.prevent_default()
        digit = next((entry.name for entry in SCREENS if entry.digit == event.key), None)
        target = self._targets.get(event.key)
        self.dismiss(digit)
        if target is not None:
            target.focus()


def jump_targets(below: Screen[Any]) -> list[Widget]:
    """What can take the focus and is seen, from the top left to the bottom right."""
    seen = [widget for widget in below.focus_chain if widget.region and below.region.overlaps(widget.region)]
    return sorted(seen, key=lambda widget: (widget.region.y, widget.region.x))
