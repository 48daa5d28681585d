"""Runs: every run of the workspace with its true state; attach to one, stop one."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.widgets import Static
from textual.worker import get_current_worker

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import RunLister
from fluxgym_tui.runs.remove import remove
from fluxgym_tui.runs.state import RunState, RunSummary
from fluxgym_tui.ui.actions import Action, bindings
from fluxgym_tui.ui.messages import ActionFailed, RunsListed
from fluxgym_tui.ui.outside import copy_text
from fluxgym_tui.ui.screens.compare import MOST, CompareScreen
from fluxgym_tui.ui.screens.confirm import ConfirmScreen
from fluxgym_tui.ui.screens.run_work import RunWorkScreen, run_actions
from fluxgym_tui.ui.theme import MUTED, STATE_COLOURS, STATE_GLYPHS
from fluxgym_tui.ui.widgets.line_list import LineList
from fluxgym_tui.ui.widgets.run_list import RunList

if TYPE_CHECKING:
    from fluxgym_tui.config.importers import Imported

LOOK_S = 2.0

EMPTY = """\
No runs yet in {outputs}.

A run is one training. It goes on when this app or its terminal is closed.

  1   choose pictures, or the bundled example; ctrl+r starts the training

What another terminal starts (fluxgym-tui train, fluxgym-tui demo) appears
here by itself."""


class RunsScreen(RunWorkScreen):
    """The list of runs, and what is to be said of the one under the cursor."""

    NAME = "runs"
    CSS_PATH = "runs.tcss"
    HELP_TITLE = "Runs"
    HELP_TEXT = "All runs of this workspace. The state is read from processes and files, so it is true after a crash."
    ACTIONS = (
        Action(id="runs.attach", keys="a", label="attach", help="Watch the run on the Live screen (enter, too).",
               action="attach"),
        *run_actions("runs"),
        Action(id="runs.mark", keys="space", label="mark", help="Mark runs to compare them.", action="mark"),
        Action(id="runs.compare", keys="c", label="compare",
               help="Compare the marked runs: losses, differing settings, samples.", action="compare"),
        Action(id="runs.clone", keys="n", label="new from it",
               help="Prepare a new training with the settings of this run.", action="clone"),
        Action(id="runs.delete", keys="d,delete", label="delete",
               help="Delete the run with all its files, after a question.", action="delete"),
        Action(id="runs.copy", keys="y", label="copy folder", help="Copy the path of the run's folder.",
               action="copy", shown=False),
        Action(id="runs.look", keys="r", label="look again", help="Read the runs' state now, not in two seconds.",
               action="look", shown=False),
    )  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self._lister: RunLister | None = None

    def compose_body(self) -> ComposeResult:
        yield Static("", id="empty", classes="empty", markup=False)
        yield RunList()
        yield Static("", id="detail")

    def on_mount(self) -> None:
        self.query_one("#empty").display = False
        self.query_one(RunList).focus()
        self.set_interval(LOOK_S, self._look_if_seen)

    def on_screen_resume(self) -> None:
        """What stands here may be old."""
        self.look()

    def _look_if_seen(self) -> None:
        if self.is_current:
            self.look()

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def look(self) -> None:
        """Read the state of all runs."""
        worker = get_current_worker()
        if self._lister is None:
            self._lister = RunLister(self.fluxgym.workspace.root / "outputs")
        runs = self._lister.look()
        if not worker.is_cancelled:
            self.post_message(RunsListed(tuple(runs)))

    @on(RunsListed)
    def _listed(self, message: RunsListed) -> None:
        listed = self.query_one(RunList)
        empty = self.query_one("#empty", Static)
        if not message.runs:
            empty.update(EMPTY.format(outputs=terminal_safe(str(self.fluxgym.workspace.root / "outputs"))))
        empty.display = not message.runs
        listed.display = self.query_one("#detail").display = bool(message.runs)
        if message.runs != listed.runs or any(not summary.state.ended for summary in message.runs):
            listed.show_runs(message.runs)
        self.fluxgym.set_alive(message.runs)
        self._tell_detail()

    @on(LineList.Moved)
    def _moved(self) -> None:
        self._tell_detail()

    @on(LineList.Chosen)
    def _chosen(self) -> None:
        if self.current is not None:
            self.fluxgym.open_run(RunDirectory(self.current.path))

    def _tell_detail(self) -> None:
        summary = self.current
        self.query_one("#detail", Static).update("" if summary is None else detail(summary))
        self.refresh_availability()

    @property
    def current(self) -> RunSummary | None:
        """The run under the cursor."""
        return self.query_one(RunList).current

    def run_changed(self) -> None:
        """See what became of it."""
        self.look()

    @property
    def target(self) -> RunSummary | None:
        """The run under the cursor."""
        return self.current

    def why_not(self, action: str) -> str | None:
        """What cannot be done with the run under the cursor, and why."""
        if not self.is_mounted:
            return None
        if action not in _NEED_RUN:
            return super().why_not(action)
        summary = self.current
        if summary is None:
            return "there is no run yet"
        name = terminal_safe(summary.name)
        if action == "delete" and not summary.state.ended:
            return f"{name} is {summary.state}; stop it first"
        if action == "compare":
            marked = len(self.query_one(RunList).marked)
            return None if 2 <= marked <= MOST else f"mark two to {MOST} runs with space; {marked} marked now"
        run = RunDirectory(summary.path)
        if action == "clone" and not (run.spec.is_file() or is_adopted(run)):
            return f"{name} has no spec"
        return None

    def action_attach(self) -> None:
        """Watch the run under the cursor."""
        self.query_one(RunList).action_choose()

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away."""
        self.query_one(RunList).toggle_mark()
        self.refresh_availability()

    def action_compare(self) -> None:
        """Put the marked runs beside each other, in the list's order."""
        listed = self.query_one(RunList)
        chosen = tuple(RunDirectory(run.path) for run in listed.runs if run.path in listed.marked)
        self.app.push_screen(CompareScreen(chosen, colour=self.fluxgym.in_colour))

    @work(thread=True, exclusive=True, group="clone", exit_on_error=False)
    def action_clone(self) -> None:
        """Take the settings of the run under the cursor to the screen Parameters."""
        from fluxgym_tui.config.importers import import_spec  # brings pydantic, as the next
        from fluxgym_tui.ui.draft_files import clone_spec

        summary = self.current
        if summary is None:
            return
        run = RunDirectory(summary.path)
        try:
            if is_adopted(run):
                self.app.call_from_thread(
                    self._show_imported, import_spec(run.output_dir, workspace=self.fluxgym.workspace.root)
                )
                return
            opened = clone_spec(run.spec, workspace=self.fluxgym.workspace)
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            return
        self.app.call_from_thread(self.fluxgym.open_draft, opened)

    def _show_imported(self, imported: "Imported") -> None:
        """Say what of another program's run comes out otherwise; then take it over."""
        from fluxgym_tui.ui.draft_files import imported_draft
        from fluxgym_tui.ui.screens.import_settings import ImportedScreen

        def answered(yes: bool | None) -> None:
            if yes:
                note = f"The settings of {imported.spec.name}, trained by another program."
                self.fluxgym.open_draft(imported_draft(imported.spec, workspace=self.fluxgym.workspace, note=note))

        self.app.push_screen(ImportedScreen(imported), answered)

    def action_delete(self) -> None:
        """Ask, then delete the run under the cursor."""
        summary = self.current
        if summary is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._delete(summary.path)

        self.app.push_screen(
            ConfirmScreen(
                f"Delete {terminal_safe(summary.name)}?",
                f"{terminal_safe(str(summary.path))} goes with all its LoRA files, samples and logs. "
                "There is no way back. Your own pictures and captions stay.",
                do="Delete it",
            ),
            answered,
        )

    @work(thread=True, group="delete", exit_on_error=False)
    def _delete(self, path: Path) -> None:
        try:
            remove(RunDirectory(path))
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            return
        self.app.call_from_thread(self.app.notify, f"{path.name} was deleted.")
        self.app.call_from_thread(self.look)

    def action_look(self) -> None:
        """Read the states now."""
        self.look()

    def action_copy(self) -> None:
        """Copy the folder of the run under the cursor."""
        if self.current is not None:
            copy_text(self.fluxgym, str(self.current.path), "the path of the run's folder")


_NEED_RUN = frozenset({"attach", "mark", "compare", "clone", "delete", "copy"})


def detail(summary: RunSummary) -> Content:
    """What there is to say of a run below the list."""
    lines: list[Content] = [
        Content.assemble(
            (f"{STATE_GLYPHS[summary.state]} {summary.state}", STATE_COLOURS[summary.state]),
            f"  {terminal_safe(str(summary.path))}",
        )
    ]
    if summary.reason:
        lines.append(Content.assemble(("why   ", MUTED), terminal_safe(summary.reason)))
    if summary.fix:
        lines.append(Content.assemble(("do    ", MUTED), terminal_safe(summary.fix)))
    if summary.lora is not None:
        lines.append(Content.assemble(("LoRA  ", MUTED), terminal_safe(str(summary.lora))))
    elif summary.checkpoint:
        lines.append(Content.assemble(("saved ", MUTED), terminal_safe(summary.checkpoint)))
    if summary.state is RunState.QUEUED:
        lines.append(Content("Nobody has started it yet."))
    if summary.stop_requested:
        lines.append(Content.styled("It was asked to stop.", "$warning"))
    return Content("\n").join(lines)
