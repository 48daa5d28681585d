"""The windows of the Flags screen: a value to type, or one of a few to choose."""

from collections.abc import Callable
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.paths import PathSuggester
from fluxgym_tui.ui.screens.dialog import Dialog

TypedAs = Literal["text", "integer", "number"]
TYPED_AS: dict[str, TypedAs] = {"whole": "integer", "number": "number", "whole_or_number": "number"}


class EditText(Dialog[str]):
    """Answers with what was typed, once it can be read."""

    def __init__(
        self,
        title: str,
        words: str,
        value: str,
        *,
        check: Callable[[str], str | None],
        typed_as: TypedAs = "text",
        path: bool = False,
    ) -> None:
        """`check` tells what is wrong with a text, or None; of `typed_as` only its letters can be typed; with `path`
        files are completed."""
        super().__init__()
        self._title, self._words, self._value, self._check = title, words, value, check
        self._typed_as, self._path = typed_as, path

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._words, markup=False)
            yield Input(self._value, type=self._typed_as, suggester=PathSuggester() if self._path else None)
            yield Static("", id="wrong", markup=False)
            completes = "right takes what is offered · " if self._path else ""
            yield Static(
                f"enter takes it, empty takes the default · {completes}esc leaves it as it was", classes="muted"
            )

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


class ChooseOne(Dialog[str]):
    """Answers with one of a few values; the empty one takes the default."""

    def __init__(self, title: str, words: str, value: str, *, choices: tuple[str, ...]) -> None:
        super().__init__()
        self._title, self._words, self._value = title, words, value
        self._choices = ("", *(choice for choice in choices if choice))

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Static(self._words, markup=False)
            yield OptionList(*(Option(choice or "the default", id=f"choice-{number}")
                               for number, choice in enumerate(self._choices)), markup=False)  # fmt: skip
            yield Static("enter takes it · esc leaves it as it was", classes="muted")

    def on_mount(self) -> None:
        listed = self.query_one(OptionList)
        words = [choice.lower() for choice in self._choices]
        listed.highlighted = words.index(self._value.lower()) if self._value.lower() in words else 0
        listed.focus()

    @on(OptionList.OptionSelected)
    def _taken(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index])
