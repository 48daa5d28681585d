"""Live: one run as it goes: phase, steps, loss chart, log and files; stop it, or leave it."""

import shutil
import time
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static
from textual.worker import Worker, get_current_worker

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import SampleEvent
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.machine.gpu import Gpu, gpus
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.follow import Follower
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui import run_words
from fluxgym_tui.ui.actions import Action, bindings
from fluxgym_tui.ui.messages import ActionFailed, MachineSeen, RunAdvanced
from fluxgym_tui.ui.outside import copy_text
from fluxgym_tui.ui.run_history import RunHistory
from fluxgym_tui.ui.screens.run_work import RunWorkScreen, logs_of, run_actions
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.log_view import LogView
from fluxgym_tui.ui.widgets.loss_chart import Line, LossChart
from fluxgym_tui.ui.widgets.picture import Picture

MACHINE_S = 2.0
POLL_S = 0.25
NO_RUN = "no run is shown; 8 lists them"

EMPTY = """\
No run is shown here yet.

  1   choose pictures, or the bundled example; ctrl+r starts the training
  8   the runs of this workspace: enter on one shows it here

A training that another terminal starts appears in that list by itself."""


class LiveScreen(RunWorkScreen):
    """Shows the run that the app has chosen (`fluxgym.run_shown`)."""

    NAME = "live"
    CSS_PATH = "live.tcss"
    HELP_TITLE = "Live"
    HELP_TEXT = "One run as it goes. Closing this app changes nothing for it."
    ACTIONS = (
        *run_actions("live"),
        Action(id="live.search", keys="slash", label="search log",
               help="Find words in the log; n and N go from hit to hit.", action="search"),
        Action(id="live.warnings", keys="w", label="only warnings",
               help="Only the log's errors and warnings, or all of it.", action="only_bad"),
        Action(id="live.follow", keys="G", label="follow", help="Go to the log's end and stay there.",
               action="follow", shown=False),
        Action(id="live.copy", keys="y", label="copy log", help="Copy the lines of the log that are seen.",
               action="copy", shown=False),
        Action(id="live.scale", keys="L", label="log scale", help="The chart's scale: linear or logarithmic.",
               action="scale", shown=False),
        Action(id="live.facts", keys="f", label="facts", help="Show or hide files, samples and warnings.",
               action="facts"),
        Action(id="live.problem", keys="x", label="error in log",
               help="Show the place in the log where the error was told.", action="problem"),
        Action(id="live.older-log", keys="left_square_bracket", label="log before",
               help="The log of the phase or attempt before.", action="other_log(-1)", shown=False),
        Action(id="live.newer-log", keys="right_square_bracket", label="next log",
               help="The log of the next phase or attempt.", action="other_log(1)", shown=False),
    )  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.run_dir: RunDirectory | None = None
        self.history = RunHistory()
        self.summary: RunSummary | None = None
        self._gpus: tuple[Gpu, ...] = ()
        self._disk_free: int | None = None
        self._dirty = True
        self._log_chosen = False
        self._sample_shown: SampleEvent | None = None
        self._clock = 0
        self._read_bytes: int | None = None  # of the journal, where its run has ended

    def compose_body(self) -> ComposeResult:
        yield Static(EMPTY, id="empty", classes="empty", markup=False)
        with Vertical(id="run"):
            yield Static("", id="status")
            with Horizontal(id="middle"):
                with Vertical(id="main"):
                    yield LossChart()
                    yield Static("", id="log-title")
                    yield LogView()
                    yield Input(placeholder="search the log, enter finds", id="search", compact=True)
                with VerticalScroll(id="facts"):
                    yield Picture(colour=self.fluxgym.in_colour)
                    yield Static("", id="facts-text")

    def on_mount(self) -> None:
        self.query_one("#run").display = False
        self.set_interval(self.fluxgym.repaint_s, self._repaint)
        self.set_interval(MACHINE_S, self._look_for_more)

    def on_screen_resume(self) -> None:
        """Show the run that was chosen meanwhile."""
        chosen = self.fluxgym.run_shown
        if chosen is not None and (self.run_dir is None or chosen.output_dir != self.run_dir.output_dir):
            self.show_run(chosen)
        else:
            self._look_for_more()
        self._dirty = True
        self._repaint()

    def go_back(self) -> None:
        """Leave the run and look at all of them."""
        if self.query_one("#search").has_class("-open"):
            self._close_search()
        else:
            self.fluxgym.show("runs")

    # Following

    def show_run(self, run: RunDirectory) -> None:
        """Follow `run` from its first event."""
        self.run_dir = run
        self.history, self.summary, self._read_bytes = RunHistory(), None, None
        self._log_chosen, self._dirty, self._sample_shown = False, True, None
        self.query_one(LogView).close()
        self.query_one(LossChart).action_whole()
        self.query_one("#empty").display = False
        self.query_one("#run").display = True
        self.query_one(LogView).focus()
        self._follow(run)
        self._look_at_machine(run)

    def _look_for_more(self) -> None:
        """A run that had ended may have been resumed since, here or from another terminal."""
        if self.run_dir is None or self._read_bytes is None or not self.is_current:
            return
        if _size(self.run_dir.events) != self._read_bytes:
            self.show_run(self.run_dir)

    @work(thread=True, exclusive=True, group="follow", exit_on_error=False)
    def _follow(self, run: RunDirectory) -> None:
        """Read the run's events until it has ended; one message for all that came since the last."""
        worker = get_current_worker()
        try:
            follower = Follower(run)
            told: RunSummary | None = None
            while not worker.is_cancelled:
                events = tuple(follower.poll())
                if events or follower.summary != told or follower.done:
                    told = follower.summary
                    self.post_message(RunAdvanced(run.output_dir, events, told, follower.done))
                if follower.done:
                    return
                if not events:
                    time.sleep(POLL_S)
        except FluxgymError as error:
            self.post_message(ActionFailed(error.message, error.hint))

    @on(RunAdvanced)
    def _advanced(self, message: RunAdvanced) -> None:
        if self.run_dir is None or message.path != self.run_dir.output_dir:
            return
        before = self.summary
        self.history.feed(message.events)
        self.summary = message.summary
        self._dirty = True
        self._read_bytes = _size(self.run_dir.events) if message.done else None
        if before is None or before.state != message.summary.state:
            self.refresh_bindings()
            if before is not None and message.summary.state.ended:
                self._tell_end(message.summary)

    def _tell_end(self, summary: RunSummary) -> None:
        good = summary.outcome in ("finished", "stopped")
        self.notify(
            f"{summary.name} {summary.state}" + (f": {summary.reason}" if summary.reason and not good else ""),
            severity="information" if good else "error",
        )

    @work(thread=True, exclusive=True, group="machine", exit_on_error=False)
    def _look_at_machine(self, run: RunDirectory) -> None:
        """Ask the cards and the disk every other second, while this screen is seen and the run goes on."""
        worker = get_current_worker()
        while not worker.is_cancelled:
            if self.is_current and not self._over:
                try:
                    free: int | None = shutil.disk_usage(run.output_dir).free
                except OSError:
                    free = None
                self.post_message(MachineSeen(tuple(gpus()), free))
            _rest(worker, MACHINE_S)

    @property
    def _over(self) -> bool:
        return self.summary is not None and self.summary.state.ended and self._disk_free is not None

    @on(MachineSeen)
    def _machine_seen(self, message: MachineSeen) -> None:
        self._gpus, self._disk_free, self._dirty = message.gpus, message.disk_free_bytes, True

    # Drawing

    def _repaint(self) -> None:
        """Draw what is new, at most as often as the app allows; the clock alone once a second."""
        if not self.is_current or self.summary is None:
            return
        second = int(time.time())
        if not self._dirty and (second == self._clock or self.summary.state.ended):
            return
        dirty, self._dirty, self._clock = self._dirty, False, second
        self.query_one("#status", Static).update(self._status())
        if not dirty:
            return
        history = self.history
        name = "average loss" if history.averaged else "loss"
        self.query_one(LossChart).show(
            [Line("smoothed", history.curve)],
            epochs=history.epoch_marks,
            checkpoints=[event.step for event in history.checkpoints if event.step is not None],
            title=name,
        )
        self._show_newest_sample()
        self.query_one("#facts-text", Static).update(run_words.facts(self.summary, history))
        self._choose_log()
        self.tell_log()

    def _show_newest_sample(self) -> None:
        """The picture drawn last, on top of the facts; nothing where none was drawn."""
        picture = self.query_one(Picture)
        picture.display = bool(self.history.samples)
        if self.history.samples and self.run_dir is not None:
            newest = self.history.samples[-1]
            if newest is not self._sample_shown:
                self._sample_shown = newest
                path = self.run_dir.output_dir / newest.path
                picture.show(path if path.exists() else self.run_dir.samples / path.name)

    def _status(self) -> Content:
        assert self.summary is not None
        summary, history = self.summary, self.history
        lines = [
            run_words.head_line(summary, history),
            run_words.bar_line(history, self.size.width),
            run_words.numbers_line(summary, history),
            *run_words.end_lines(summary, history),
            run_words.machine_line(summary, history, self._gpus, self._disk_free, time.time()),
        ]
        return Content("\n").join(lines)

    # The log

    def logs(self) -> list[Path]:
        """The logs of the run, in the order they were begun."""
        if self.run_dir is None:
            return []
        return logs_of(self.run_dir)

    def _choose_log(self) -> None:
        """Show the newest log, unless the user chose another."""
        logs = self.logs()
        if logs and not self._log_chosen:
            self.query_one(LogView).open(logs[-1])

    @on(LogView.Grown)
    def tell_log(self) -> None:
        """The line above the log."""
        view = self.query_one(LogView)
        title = self.query_one("#log-title", Static)
        if view.index is None:
            title.update(Content.styled(" log: nothing printed yet", MUTED))
            return
        words = [f" {terminal_safe(view.index.path.name)}", count(view.count, "line")]
        if view.only_bad:
            words[1] = f"{view.count:,} errors and warnings of {view.index.lines:,} lines (w shows all)"
        if view.query_text:
            at = f"{view.hits.index(view.hit) + 1} of " if view.hit in view.hits else ""
            words.append(f"“{terminal_safe(view.query_text)}”: {at}{len(view.hits):,} lines (n N)")
        if view.following:
            words.append("follows the end")
        else:
            words.append(f"+{view.unseen:,} lines, G follows" if view.unseen else "G follows")
        title.update(Content("  ·  ".join(words)))

    def action_search(self) -> None:
        """Open the search field."""
        field = self.query_one("#search", Input)
        field.add_class("-open")
        field.focus()

    @on(Input.Submitted, "#search")
    def _search(self, event: Input.Submitted) -> None:
        self.query_one(LogView).search(event.value)
        self._close_search()

    @on(Input.Blurred, "#search")
    def _close_search(self) -> None:
        self.query_one("#search").remove_class("-open")
        if self.focused is None or self.focused.id == "search":
            self.query_one(LogView).focus()

    def action_only_bad(self) -> None:
        """Only errors and warnings, or all lines."""
        view = self.query_one(LogView)
        view.only_bad = not view.only_bad

    def action_follow(self) -> None:
        """To the end of the log."""
        self.query_one(LogView).action_follow()

    def action_other_log(self, by: int) -> None:
        """The log before or behind the one shown."""
        logs, view = self.logs(), self.query_one(LogView)
        if not logs:
            return
        at = logs.index(view.index.path) if view.index is not None and view.index.path in logs else len(logs) - 1
        at = max(0, min(at + by, len(logs) - 1))
        self._log_chosen = at != len(logs) - 1
        view.open(logs[at])
        self.tell_log()

    def action_problem(self) -> None:
        """Show where in the log the newest problem stands; it is of the newest log."""
        problem, logs = self.history.problem, self.logs()
        if problem is not None and problem.log_offset is not None and logs:
            view = self.query_one(LogView)
            view.open(logs[-1])
            view.show_offset(problem.log_offset)

    def action_scale(self) -> None:
        """The other scale of the chart."""
        self.query_one(LossChart).action_toggle_log()

    def action_facts(self) -> None:
        """Show or hide the panel; on a narrow terminal it takes the place of chart and log."""
        self.toggle_class("-facts")

    def action_copy(self) -> None:
        """Copy what is seen of the log."""
        view = self.query_one(LogView)
        lines = view.lines_seen()
        if lines:
            copy_text(self.fluxgym, "\n".join(lines), f"{count(len(lines), 'line')} of the log")
        else:
            self.notify("Nothing of a log is seen.", severity="warning")

    # What can be done

    @property
    def target(self) -> RunSummary | None:
        """The run that is shown."""
        return self.summary

    @property
    def no_target(self) -> str:
        """Why there is none."""
        return NO_RUN if self.run_dir is None else "the run is being read"

    def why_not(self, action: str) -> str | None:
        """What cannot be done with this run now."""
        if self.run_dir is None and action in _NEED_RUN:
            return NO_RUN
        if action == "problem" and (self.history.problem is None or self.history.problem.log_offset is None):
            return "no error was seen in the log"
        return super().why_not(action)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _rest(worker: Worker[Any], seconds: float) -> None:
    """Sleep, but wake soon where the worker is not wanted any more."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not worker.is_cancelled:
        time.sleep(POLL_S)


_NEED_RUN = frozenset({"search", "only_bad", "follow", "scale", "facts", "other_log", "copy", "problem"})
