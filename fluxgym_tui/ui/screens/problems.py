"""All that is to be mended in the folder, each with the key or the deed that does it."""

from collections.abc import Sequence
from pathlib import PurePath

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.draft_words import LOOKS
from fluxgym_tui.ui.picture_rows import PictureRow
from fluxgym_tui.ui.picture_words import MENDING_KEYS
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList


class ProblemsScreen(Dialog[str]):
    """Answers with the picture that the chosen problem is about."""

    def __init__(self, rows: Sequence[PictureRow], problems: Sequence[Finding]) -> None:
        super().__init__()
        order = list(Severity)
        self._problems = sorted(problems, key=lambda one: order.index(one.severity))
        self._owners = {row.file: row.file for row in rows}
        self._owners |= {row.image.caption_file: row.file for row in rows if row.image and row.image.caption_file}

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("What is to be mended", classes="dialog-title")
            if not self._problems:
                yield Static("Nothing: every file of the folder is as it should be.")
            yield LineList(help_title="The problems")
            yield Static("", id="fix", markup=False)
            yield Static("enter goes to the picture · esc closes", classes="muted")

    def on_mount(self) -> None:
        listed = self.query_one(LineList)
        listed.show(len(self._problems), self._row)
        listed.focus()
        self._tell(0)

    def _row(self, number: int, width: int) -> Content:
        one = self._problems[number]
        glyph, colour = LOOKS[one.severity]
        name = terminal_safe(PurePath(one.path).name) if one.path else ""
        detail = f" ({terminal_safe(one.detail)})" if one.detail else ""
        return Content.assemble(
            (f"{glyph} ", colour), Content(name).truncate(26, ellipsis=True, pad=True), f" {one.title}", (detail, MUTED)
        ).truncate(width, ellipsis=True)

    def _tell(self, number: int) -> None:
        if self._problems:
            one = self._problems[number]
            self.query_one("#fix", Static).update(f"→ {MENDING_KEYS.get(one.code) or one.fix or 'nothing to do'}")

    def on_line_list_moved(self, message: LineList.Moved) -> None:
        """Say what mends this one."""
        self._tell(message.row)

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        """Go to its picture."""
        path = self._problems[message.row].path
        self.dismiss(None if path is None else self._owners.get(path))
