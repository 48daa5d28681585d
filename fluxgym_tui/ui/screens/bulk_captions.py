"""Changes many captions at once, and shows each change before it is made."""

from collections.abc import Mapping
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Label, Static

from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.dataset.caption_edits import BulkEdit, bulk_changes
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList

_INPUTS = (("find", "find"), ("replace", "replace with"), ("prefix", "put before"), ("suffix", "put behind"))


class BulkCaptionsScreen(Dialog[dict[Path, str]]):
    """Answers with the new texts by caption file."""

    DEFAULT_CSS = """
    BulkCaptionsScreen .row { height: 1; }
    BulkCaptionsScreen .row Label { width: 16; color: $foreground 60%; }
    BulkCaptionsScreen .row Input { width: 1fr; }
    BulkCaptionsScreen LineList { margin-top: 1; }
    """

    def __init__(self, texts: Mapping[Path, str], *, of: str, prefix: str = "", lacking: str = "") -> None:
        """`texts` are captions by file and `of` says which they are; `prefix` stands there at first.

        With `lacking` only captions without those words are changed.
        """
        super().__init__()
        self._texts, self._of, self._prefix, self._lacking = texts, of, prefix, lacking
        self._changes: dict[Path, str] = {}
        self._shown: tuple[Path, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static(f"Change captions: {terminal_safe(self._of)}", classes="dialog-title", markup=False)
            for name, label in _INPUTS:
                with Horizontal(classes="row"):
                    yield Label(label)
                    yield Input(self._prefix if name == "prefix" else "", compact=True, id=name)
            yield LineList(help_title="What changes")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Change nothing", id="change", variant="primary", disabled=True)
                yield Button("Cancel", id="cancel")

    def on_mount(self) -> None:
        self.query_one("#prefix" if self._prefix else "#find").focus()
        self._count()

    @on(Input.Changed)
    def _count(self) -> None:
        words = {name: self.query_one(f"#{name}", Input).value for name, _ in _INPUTS}
        self._changes = bulk_changes(BulkEdit(lacking=self._lacking, **words), self._texts)
        self._shown = tuple(self._changes)
        button = self.query_one("#change", Button)
        button.disabled = not self._changes
        button.label = f"Change {count(len(self._changes), 'caption')}" if self._changes else "Change nothing"
        heading = Content(f"  {'caption':<24} becomes ({len(self._changes):,} of {len(self._texts):,})")
        self.query_one(LineList).show(len(self._shown), self._row, heading=heading)

    def _row(self, number: int, width: int) -> Content:
        path = self._shown[number]
        name = Content(terminal_safe(path.name)).truncate(24, ellipsis=True, pad=True)
        text = terminal_safe(self._changes[path].partition("\n")[0])
        return Content.assemble(name.stylize(MUTED), " ", text).truncate(width, ellipsis=True)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.query_one("#change").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(self._changes if event.button.id == "change" else None)
