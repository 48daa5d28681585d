"""A window in front of a screen: esc leaves it without an answer."""

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer]):
    """What all windows share. Keys of the app do not work behind them, so esc is bound here."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", tooltip="Close without an answer.")]

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
