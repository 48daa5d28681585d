"""The windows of the Flags screen: one value to type, and the files of the run to read and copy."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static, TextArea

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.screens.dialog import Dialog


class EditText(Dialog[str]):
    """Answers with what was typed, once it can be read."""

    def __init__(
        self, title: str, words: str, value: str, *, choices: tuple[str, ...], check: Callable[[str], str | None]
    ) -> None:
        """`check` tells what is wrong with a text, or None; `choices` are offered while typing."""
        super().__init__()
        self._title, self._words, self._value, self._choices, self._check = title, words, value, choices, check

    def compose(self) -> ComposeResult:
        suggester = SuggestFromList(self._choices) if self._choices else None
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._words, markup=False)
            yield Input(self._value, suggester=suggester)
            yield Static("", id="wrong", markup=False)
            yield Static("enter takes it, empty takes the default · esc leaves it as it was", classes="muted")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        wrong = self._check(event.value)
        self.query_one("#wrong", Static).update("" if wrong is None else f"✗ {terminal_safe(wrong)}")

    @on(Input.Submitted)
    def _taken(self, event: Input.Submitted) -> None:
        if self._check(event.value) is None:
            self.dismiss(event.value)


class FilesScreen(Dialog[None]):
    """Shows one file after the other, to read and to copy."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next_file", "next file", tooltip="Show the next file."),
        Binding("y", "copy", "copy", tooltip="Copy the file to the clipboard of your terminal."),
    ]

    def __init__(self, files: Mapping[str, str]) -> None:
        super().__init__()
        self._files = dict(files)
        self._names = tuple(files)
        self._at = 0

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("", id="name", classes="dialog-title", markup=False)
            yield TextArea(read_only=True, compact=True, soft_wrap=True, show_line_numbers=False)
            yield Static("n next file · y copies it · esc closes", classes="muted")

    def on_mount(self) -> None:
        self._show()
        self.query_one(TextArea).focus()

    def _show(self) -> None:
        name = self._names[self._at]
        self.query_one("#name", Static).update(f"{name} as the run would have it ({self._at + 1}/{len(self._names)})")
        self.query_one(TextArea).load_text(terminal_safe(self._files[name], keep="\n"))

    def action_next_file(self) -> None:
        """The next file."""
        self._at = (self._at + 1) % len(self._names)
        self._show()

    def action_copy(self) -> None:
        """Copy it by OSC 52, which works over SSH where the terminal allows it."""
        name = self._names[self._at]
        self.app.copy_to_clipboard(self._files[name])
        self.notify(f"{name} is copied, if your terminal allows it.")
