"""Changes many captions at once, and shows each change before it is made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Label, Static
from textual.worker import get_current_worker

from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.dataset.caption_edits import BulkEdit, bulk_changes
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList

_INPUTS = (("find", "find"), ("replace", "replace with"), ("prefix", "put before"), ("suffix", "put behind"))
_NAME_CELLS = 24


@dataclass
class _Counted(Message):
    """What the words in the fields would change."""

    changes: dict[Path, str]


class BulkCaptionsScreen(Dialog[dict[Path, str]]):
    """Answers with the new texts by caption file."""

    DEFAULT_CSS = """
    BulkCaptionsScreen .row { height: 1; }
    BulkCaptionsScreen .row Label { width: 16; color: $foreground 60%; }
    BulkCaptionsScreen .row Input { width: 1fr; }
    BulkCaptionsScreen LineList { margin-top: 1; }
    BulkCaptionsScreen #change { min-width: 28; }
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
        self._read({name: self.query_one(f"#{name}", Input).value for name, _ in _INPUTS})

    @work(thread=True, exclusive=True, group="changes", exit_on_error=False)
    def _read(self, words: dict[str, str]) -> None:
        worker = get_current_worker()
        changes = bulk_changes(BulkEdit(lacking=self._lacking, **words), self._texts)
        if not worker.is_cancelled:
            self.post_message(_Counted(changes))

    def on__counted(self, message: _Counted) -> None:
        """Show what would change."""
        self._changes, self._shown = message.changes, tuple(message.changes)
        button = self.query_one("#change", Button)
        button.disabled = not self._changes
        button.label = f"Change {count(len(self._changes), 'caption')}" if self._changes else "Change nothing"
        heading = Content(f"  {'caption':<{_NAME_CELLS}} becomes ({len(self._changes):,} of {len(self._texts):,})")
        self.query_one(LineList).show(len(self._shown), self._row, heading=heading)

    def _row(self, number: int, width: int) -> Content:
        path = self._shown[number]
        name = Content(terminal_safe(path.name)).truncate(_NAME_CELLS, ellipsis=True, pad=True)
        before, after = (texts[path].partition("\n")[0] for texts in (self._texts, self._changes))
        change = change_words(terminal_safe(before), terminal_safe(after), width=width - _NAME_CELLS - 1)
        return Content.assemble(name.stylize(MUTED), " ", change).truncate(width, ellipsis=True)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.query_one("#change").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(self._changes if event.button.id == "change" else None)


def change_words(before: str, after: str, *, width: int) -> Content:
    """The line `after` by words, with what it gains marked and what it loses struck out, from the first change on."""
    old, new = (re.findall(r"\s+|[\w'-]+|.", text) for text in (before, after))
    parts: list[tuple[str, str]] = []
    for what, i, j, k, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            parts.append(("".join(new[k:end]), ""))
        else:
            parts += [("".join(old[i:j]), "strike $error"), ("".join(new[k:end]), "bold $success")]
    if parts and not parts[0][1] and sum(len(text) for text, _ in parts[:3]) > width:
        parts[0] = (f"…{parts[0][0][-(width // 3) :]}", "")
    return Content.assemble(*(part for part in parts if part[0]))
