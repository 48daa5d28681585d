"""The Events list: everything the app told the user, the newest first."""

import time
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED

if TYPE_CHECKING:
    from fluxgym_tui.ui.app import Told

_LOOKS = {"information": ("·", "note", "$primary"), "warning": ("!", "warning", "$warning"),
          "error": ("✗", "error", "$error")}  # fmt: skip


class EventsScreen(Dialog[None]):
    """A list to read; esc leaves it."""

    def __init__(self, told: "tuple[Told, ...]") -> None:
        super().__init__()
        self._told = told

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Events: what this app told you", classes="dialog-title")
            with VerticalScroll():
                if not self._told:
                    yield Static("Nothing yet. Notes that flash up in a corner are kept here.", classes="muted")
                for told in reversed(self._told):
                    yield Static(_line(told))
            yield Static("esc closes", classes="muted")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def _line(told: "Told") -> Content:
    glyph, word, colour = _LOOKS[told.severity]
    clock = time.strftime("%H:%M:%S", time.localtime(told.time))
    title = f"{told.title}: " if told.title else ""
    return Content.assemble((f"{clock} ", MUTED), (f"{glyph} {word} ", colour), f"{title}{told.message}")
