"""What Live and Runs do with a run: stop it, go on with it, read its log in an editor."""

from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui.actions import Action
from fluxgym_tui.ui.messages import ActionFailed
from fluxgym_tui.ui.outside import read_in_editor
from fluxgym_tui.ui.screens.base import WorkScreen

if TYPE_CHECKING:
    from fluxgym_tui.ui.screens.resume_run import Wish


def run_actions(area: str) -> tuple[Action, ...]:
    """The actions of every screen that has a run; `area` makes their ids."""
    return (
        Action(id=f"{area}.stop", keys="s", label="stop", help="Ask the run to stop now; what it saved stays.",
               action="stop"),
        Action(id=f"{area}.stop-at-checkpoint", keys="S", label="stop at checkpoint",
               help="Let the run go on until its next LoRA file is whole, then stop.", action="stop_at_checkpoint",
               shown=False),
        Action(id=f"{area}.resume", keys="R", label="resume",
               help="Go on with a run that has ended, to its planned end or some epochs further.", action="resume"),
        Action(id=f"{area}.log-editor", keys="e", label="log in editor",
               help="Open a read-only copy of the run's newest log in $EDITOR.", action="edit_log", shown=False),
    )  # fmt: skip


class RunWorkScreen(WorkScreen):
    """A screen with a run to work on: `target`."""

    @property
    def target(self) -> RunSummary | None:
        """The run that the keys are about."""
        return None

    @property
    def no_target(self) -> str:
        """Why there is none."""
        return "there is no run yet"

    def run_changed(self) -> None:
        """Something was done with a run: see what became of it."""

    def why_not(self, action: str) -> str | None:
        """What cannot be done with the run now, and why."""
        if action not in ("stop", "stop_at_checkpoint", "resume", "edit_log"):
            return None
        summary = self.target
        if summary is None:
            return self.no_target
        name = terminal_safe(summary.name)
        if action in ("stop", "stop_at_checkpoint") and summary.state.ended:
            return f"{name} is {summary.state} already"
        if action == "stop_at_checkpoint" and summary.stop_requested:
            return "it was asked to stop already"
        if action == "resume" and not summary.state.ended:
            return f"{name} is {summary.state}; it goes on by itself"
        if is_adopted(RunDirectory(summary.path)):
            return f"{name} was trained by another program"
        return None

    # Stopping

    def action_stop(self) -> None:
        """Ask, then stop the run."""
        from fluxgym_tui.ui.screens.confirm import ConfirmScreen

        summary = self.target
        if summary is None:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._stop(summary.path)

        so_far = f"It is at step {summary.step:,}" + (f" of {summary.total:,}" if summary.total else "")
        self.app.push_screen(
            ConfirmScreen(
                f"Stop {terminal_safe(summary.name)} now?",
                f"{so_far}. LoRA files saved so far stay; steps since the last one are lost.",
                do="Stop it",
                keep="Let it run",
            ),
            answered,
        )

    def action_stop_at_checkpoint(self) -> None:
        """Stop the run once its next LoRA file is whole."""
        if self.target is not None:
            self._stop(self.target.path, at_checkpoint=True)

    @work(thread=True, group="stop", exit_on_error=False)
    def _stop(self, path: Path, *, at_checkpoint: bool = False) -> None:
        from fluxgym_tui.runs.control import request_stop

        try:
            request_stop(RunDirectory(path), at_checkpoint=at_checkpoint)
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            return
        when = "once its next LoRA file is whole" if at_checkpoint else "now"
        self.app.call_from_thread(self._done, f"{path.name} was asked to stop {when}.")

    def _done(self, words: str) -> None:
        self.notify(words)
        self.run_changed()

    # Going on

    @work(thread=True, exclusive=True, group="resume", exit_on_error=False)
    def action_resume(self) -> None:
        """Find out what the run can go on from, then ask how."""
        from fluxgym_tui.runs.resume import prospects

        summary = self.target
        if summary is None:
            return
        try:
            found = prospects(RunDirectory(summary.path))
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            return
        from fluxgym_tui.ui.screens.resume_run import ResumeScreen, Wish

        if found.untrained:  # a download broke off: there is nothing to choose, and nothing to lose
            self.app.call_from_thread(self._resume, summary.path, Wish(None, weights=False))
            return

        def answered(wish: Wish | None) -> None:
            if wish is not None:
                self._resume(summary.path, wish)

        self.app.call_from_thread(self.app.push_screen, ResumeScreen(summary, found), answered)

    @work(thread=True, exclusive=True, group="resume", exit_on_error=False)
    def _resume(self, path: Path, wish: "Wish") -> None:
        from fluxgym_tui.runs.resume import resume

        run = RunDirectory(path)
        told: list[str] = []
        try:
            resume(run, more_epochs=wish.more_epochs, weights=wish.weights, narrate=told.append)
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            return
        self.app.call_from_thread(self._resumed, run, "\n".join(told))

    def _resumed(self, run: RunDirectory, told: str) -> None:
        self.notify(told)
        self.fluxgym.open_run(run)

    # Its log

    async def action_edit_log(self) -> None:
        """Open the newest log in the user's editor, as a copy."""
        summary = self.target
        if summary is None:
            return
        logs = logs_of(RunDirectory(summary.path))
        if logs:
            await read_in_editor(self.fluxgym, logs[-1])
        else:
            self.notify(f"{summary.name} has written no log.", severity="warning")


def logs_of(run: RunDirectory) -> list[Path]:
    """The logs of a run, in the order they were begun."""
    found = list(run.run_dir.glob("*-[0-9][0-9][0-9].log"))
    return sorted(found, key=lambda path: (path.stem.rpartition("-")[2], path.stem.startswith("train"), path.name))
