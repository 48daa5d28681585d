"""Opens a saved spec, or takes over the settings of a run."""

import time
from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.ui.draft import OpenedDraft
from fluxgym_tui.ui.draft_files import clone_spec, open_spec, saved_specs
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList


@dataclass(frozen=True, slots=True)
class _Choice:
    path: Path
    name: str
    kind: str
    time: float


@dataclass
class _Found(Message):
    choices: tuple[_Choice, ...]


@dataclass
class _Opened(Message):
    opened: OpenedDraft | None
    error: FluxgymError | None = None


class OpenSavedScreen(Dialog[OpenedDraft]):
    """Answers with the draft that was chosen."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._choices: tuple[_Choice, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Open a saved spec, or take over the settings of a run", classes="dialog-title")
            yield Static("", id="none", classes="muted")
            yield LineList(help_title="Specs and runs")
            yield Static("enter opens · esc closes", classes="muted")

    def on_mount(self) -> None:
        self.query_one(LineList).focus()
        self._find()

    @work(thread=True, exit_on_error=False)
    def _find(self) -> None:
        specs = [_Choice(path, path.stem, "spec", path.stat().st_mtime) for path in saved_specs(self._workspace)]
        runs = [
            _Choice(RunDirectory(run.path).spec, run.name, f"run, {run.state}", run.started or run.created or 0.0)
            for run in list_runs(self._workspace.root / "outputs")
            if RunDirectory(run.path).spec.is_file()
        ]
        self.post_message(_Found((*specs, *runs)))

    def on__found(self, message: _Found) -> None:
        """Show what there is."""
        self._choices = message.choices
        self.query_one("#none", Static).update("" if self._choices else "Nothing is saved here yet, and nothing ran.")
        self.query_one(LineList).show(
            len(self._choices), self._row, heading=Content(f"  {'what':<18}{'name':<32}{'last used':<14}")
        )

    def _row(self, number: int, width: int) -> Content:
        choice = self._choices[number]
        when = time.strftime("%d %b %H:%M", time.localtime(choice.time)) if choice.time else ""
        name = Content(terminal_safe(choice.name)).truncate(31, ellipsis=True, pad=True).stylize("bold")
        return Content.assemble((f"{choice.kind:<18}", MUTED), name, f" {when}").truncate(width)

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        """Open the row."""
        self._open(self._choices[message.row])

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _open(self, choice: _Choice) -> None:
        try:
            if choice.kind == "spec":
                self.post_message(_Opened(open_spec(choice.path)))
            else:
                self.post_message(_Opened(clone_spec(choice.path, workspace=self._workspace)))
        except FluxgymError as error:
            self.post_message(_Opened(None, error))

    def on__opened(self, message: _Opened) -> None:
        """Hand it back, or tell why it cannot be opened."""
        if message.opened is not None:
            self.dismiss(message.opened)
        elif message.error is not None:
            self.notify(str(message.error), severity="error")
