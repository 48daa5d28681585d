"""All that is to be mended, each with the key that does it: here and on the Dataset screen alike."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.draft_words import LOOKS
from fluxgym_tui.ui.mending import MENDINGS, mending_words
from fluxgym_tui.ui.picture_rows import PictureRow
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList

_KEYS = sorted({(one.key, one.action) for one in MENDINGS.values() if one.key != "enter"})


class ProblemsScreen(Dialog[tuple[str, str | None]]):
    """Answers with the action that mends the chosen problem (empty: none does) and the picture it is about."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"mend('{action}')", action, show=False) for key, action in _KEYS
    ]

    def __init__(self, rows: Sequence[PictureRow], problems: Sequence[Finding]) -> None:
        super().__init__()
        self._problems = problems
        self._owners = {row.file: row.file for row in rows}
        self._owners |= {row.image.caption_file: row.file for row in rows if row.image and row.image.caption_file}

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("What is to be mended", classes="dialog-title")
            if not self._problems:
                yield Static("Nothing: every file of the folder is as it should be.")
            yield LineList(help_title="The problems")
            yield Static("", id="fix", markup=False)
            yield Static("enter goes to the picture and begins · esc closes", classes="muted")

    def on_mount(self) -> None:
        listed = self.query_one(LineList)
        listed.show(len(self._problems), self._row)
        listed.focus()
        self._tell(0)

    def _row(self, number: int, width: int) -> Content:
        one = self._problems[number]
        glyph, colour = LOOKS[one.severity]
        mending = MENDINGS.get(one.code)
        key = "" if mending is None else mending.key
        name = terminal_safe(PurePath(one.path).name) if one.path else ""
        detail = f" ({terminal_safe(one.detail)})" if one.detail else ""
        return Content.assemble(
            (f"{glyph} ", colour),
            (f"{key:<6}", "bold"),
            Content(name).truncate(26, ellipsis=True, pad=True),
            f" {one.title}",
            (detail, MUTED),
        ).truncate(width, ellipsis=True)

    def _tell(self, number: int) -> None:
        if self._problems:
            one = self._problems[number]
            detail = f" ({one.detail})" if one.detail else ""
            words = mending_words(one) or "Nothing to do."
            self.query_one("#fix", Static).update(terminal_safe(f"{one.title}{detail}\n→ {words}", keep="\n"))

    def on_line_list_moved(self, message: LineList.Moved) -> None:
        """Say what mends this one."""
        self._tell(message.row)

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        """Go to its picture, and write where writing mends it."""
        mending = MENDINGS.get(self._problems[message.row].code)
        self._answer("edit" if mending is not None and mending.action == "edit" else "")

    def action_mend(self, action: str) -> None:
        """Do what a key does on the Dataset screen."""
        self._answer(action)

    def _answer(self, action: str) -> None:
        path = self._problems[self.query_one(LineList).cursor].path if self._problems else None
        self.dismiss((action, None if path is None else self._owners.get(path)))
