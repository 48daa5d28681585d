"""Compare: two to four runs, their losses over each other, the settings that differ, their newest samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from fluxgym_tui.base.events import SampleEvent
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.runs.adopted import adopted_events, is_adopted
from fluxgym_tui.runs.compare import Difference, differences
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import read_entries
from fluxgym_tui.ui.run_history import RunHistory
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.key_bar import KeyBar
from fluxgym_tui.ui.widgets.loss_chart import Line, LossChart
from fluxgym_tui.ui.widgets.picture import Picture

MOST = 4
_KEY_CELLS = 30
_LEAST_VALUE_CELLS = 10


@dataclass
class RunsRead(Message):
    """All there is to compare."""

    histories: tuple[RunHistory, ...]
    found: list[Difference]
    unread: list[RunDirectory]


class CompareScreen(Dialog[None]):
    """Reads the runs once; up and down go from prompt to prompt."""

    CSS_PATH = "compare.tcss"
    HELP_TITLE = "Comparing runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "back", tooltip="Back to the runs."),
        Binding("p", "prompt(1)", "next prompt", tooltip="The samples of the next prompt."),
    ]

    def __init__(self, runs: tuple[RunDirectory, ...], *, colour: bool) -> None:
        super().__init__()
        self._runs, self._colour = runs, colour
        self._histories: tuple[RunHistory, ...] = ()
        self._prompt = 0

    def compose(self) -> ComposeResult:
        yield Static("", id="compare-title", markup=False)
        yield LossChart()
        with VerticalScroll(id="differences"):
            yield Static("reading ...", id="table")
        with Horizontal(id="pictures"):
            for number in range(len(self._runs)):
                with Vertical():
                    yield Static("", id=f"caption-{number}", classes="caption", markup=False)
                    yield Picture(colour=self._colour)
        yield KeyBar()

    def on_mount(self) -> None:
        names = " | ".join(terminal_safe(run.name) for run in self._runs)
        self.query_one("#compare-title", Static).update(f"compare  {names}")
        self.query_one("#pictures").display = False
        self.query_one(LossChart).focus()
        self._read()

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self) -> None:
        histories = []
        for run in self._runs:
            history = RunHistory()
            history.feed(
                adopted_events(run) if is_adopted(run) else (entry.event for entry, _ in read_entries(run.events))
            )
            histories.append(history)
        self.post_message(RunsRead(tuple(histories), *differences(self._runs)))

    @on(RunsRead)
    def _runs_read(self, message: RunsRead) -> None:
        self._histories = message.histories
        self.query_one(LossChart).show(
            [
                Line(terminal_safe(run.name), history.curve)
                for run, history in zip(self._runs, message.histories, strict=True)
            ],
            title="smoothed loss",
        )
        self.query_one("#table", Static).update(self._table(message))
        self.query_one("#pictures").display = any(history.samples for history in self._histories)
        self._show_samples()

    def _table(self, message: RunsRead) -> Content:
        cells = max(_LEAST_VALUE_CELLS, (self.size.width - _KEY_CELLS - 4) // len(self._runs) - 1)
        lines = [_row("setting", [run.name for run in self._runs], cells).stylize("bold")]
        lines += [_row(difference.key, list(difference.values), cells) for difference in message.found]
        if not message.found and len(message.unread) < len(self._runs) - 1:
            lines.append(Content.styled("They were trained with the same settings.", MUTED))
        if message.unread:
            names = ", ".join(terminal_safe(run.name) for run in message.unread)
            lines.append(Content.styled(f"No readable spec: {names}", "$warning"))
        return Content("\n").join(lines)

    # Samples

    def _show_samples(self) -> None:
        for number, (run, history) in enumerate(zip(self._runs, self._histories, strict=True)):
            event = _newest(history, self._prompt)
            words = terminal_safe(run.name) + (" drew none" if event is None else f" step {event.step or 0:,}")
            self.query_one(f"#caption-{number}", Static).update(f"{words}, prompt {self._prompt + 1}")
            picture = list(self.query(Picture))[number]
            picture.show(None if event is None else _place(run, event))
        self.refresh_bindings()

    def _prompts(self) -> list[int]:
        return sorted({event.prompt_index for history in self._histories for event in history.samples})

    def action_prompt(self, by: int) -> None:
        """The samples of another prompt; behind the last comes the first."""
        prompts = self._prompts()
        if prompts:
            at = prompts.index(self._prompt) if self._prompt in prompts else 0
            self._prompt = prompts[(at + by) % len(prompts)]
            self._show_samples()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """One prompt or none: nothing to go to."""
        return None if action == "prompt" and len(self._prompts()) < 2 else True


def _newest(history: RunHistory, prompt: int) -> SampleEvent | None:
    return next((event for event in reversed(history.samples) if event.prompt_index == prompt), None)


def _place(run: RunDirectory, event: SampleEvent) -> Path:
    path = run.output_dir / event.path
    return path if path.exists() else run.samples / path.name


def _row(key: str, values: list[str | None], cells: int) -> Content:
    shown = [Content("-" if value is None else terminal_safe(value)).truncate(cells, ellipsis=True, pad=True)
             for value in values]  # fmt: skip
    return Content.assemble(Content(key).truncate(_KEY_CELLS, ellipsis=True, pad=True), " ", Content(" ").join(shown))
