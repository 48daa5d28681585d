"""A question before something that destroys or costs."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from fluxgym_tui.ui.screens.dialog import Dialog


class ConfirmScreen(Dialog[bool]):
    """Answers True only by the button that says what is done; the focus is on the other one."""

    def __init__(self, title: str, text: str, *, do: str, keep: str = "Keep it") -> None:
        """`title` and `text` are shown as they are (no markup); `do` and `keep` are the buttons."""
        super().__init__()
        self._title, self._text, self._do, self._keep = title, text, do, keep

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._text, markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button(self._keep, id="keep", variant="primary")
                yield Button(self._do, id="do", variant="error")

    def on_mount(self) -> None:
        self.query_one("#keep").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Hand back the answer."""
        self.dismiss(event.button.id == "do")
