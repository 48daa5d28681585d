"""Samples: what the LoRA draws at each step, prompt by prompt; look closer, compare, pick the one to publish."""

import os
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import RunEvent
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.runs.adopted import adopted_events, is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import read_entries
from fluxgym_tui.runs.picked import pick, picked
from fluxgym_tui.ui.actions import Action, bindings
from fluxgym_tui.ui.outside import copy_text, read_in_editor
from fluxgym_tui.ui.sample_table import SampleTable, read_prompts
from fluxgym_tui.ui.screens.base import WorkScreen
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.sample_grid import SampleGrid

LOOK_S = 2.0

NO_RUN = """\
No run is chosen.

8 lists the runs; enter on one shows it on Live (5), and its samples here."""

NO_SAMPLES = """\
{name} has drawn no samples.

Samples show what the LoRA draws while it learns, always from the same prompts and seeds.
They are drawn where a spec has

  samples: {{prompts: ["{trigger} in the rain"], every_n_steps: 100, at_first: true}}

`at_first` adds what the base model draws without the LoRA."""


class SamplesRead(Message):
    """New events of the run in `path` that the samples need, and where in the journal reading goes on."""

    def __init__(self, path: Path, events: tuple[RunEvent, ...], offset: int, prompts: list[str]) -> None:
        super().__init__()
        self.path, self.events, self.offset, self.prompts = path, events, offset, prompts


class SamplesScreen(WorkScreen):
    """The samples of the run that Live shows."""

    NAME = "samples"
    CSS_PATH = "samples.tcss"
    HELP_TITLE = "Samples"
    HELP_TEXT = "Rows are prompts, columns are steps. The seed of a prompt stays, so what changes is what was learnt."
    ACTIONS = (
        Action(id="samples.zoom", keys="z", label="large", help="See the picture large (enter, too); arrows flick.",
               action="zoom"),
        Action(id="samples.base", keys="b", label="beside base",
               help="The base model's picture beside this one, same prompt and seed.", action="compare"),
        Action(id="samples.pick", keys="p", label="pick", help="Pick the LoRA file of this step as the one to publish.",
               action="pick"),
        Action(id="samples.copy", keys="y", label="copy path", help="Copy the path of the picture.", action="copy",
               shown=False),
        Action(id="samples.prompts", keys="e", label="prompts in editor",
               help="Open a read-only copy of the run's prompts in $EDITOR.", action="edit_prompts", shown=False),
    )  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.run_dir: RunDirectory | None = None
        self.table: SampleTable | None = None
        self.prompts: list[str] = []
        self._offset = 0

    def compose_body(self) -> ComposeResult:
        yield Static(NO_RUN, id="empty", classes="empty", markup=False)
        with Vertical(id="grid-body"):
            yield Static("", id="title")
            yield SampleGrid()
            yield Static("", id="prompt")

    def on_mount(self) -> None:
        grid = self.query_one(SampleGrid)
        grid.colour = self.fluxgym.in_colour
        self.query_one("#grid-body").display = False
        self.set_interval(LOOK_S, self._look_if_seen)

    def on_screen_resume(self) -> None:
        """The run that Live shows may be another one now."""
        run = self.fluxgym.run_shown
        if run is not None and (self.run_dir is None or run.output_dir != self.run_dir.output_dir):
            self.run_dir, self._offset = run, 0
            self.table = SampleTable(run.output_dir)
        self._look_if_seen()

    def _look_if_seen(self) -> None:
        if self.is_current and self.run_dir is not None:
            self._read(self.run_dir, self._offset)

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, run: RunDirectory, offset: int) -> None:
        if is_adopted(run):
            told = adopted_events(run)
            shown = tuple(event for event in told[offset:] if event.kind in ("sample", "checkpoint"))
            self.post_message(SamplesRead(run.output_dir, shown, len(told), read_prompts(run.output_dir)))
            return
        try:
            if os.stat(run.events).st_size <= offset:  # noqa: PTH116 - asked every two seconds
                return
        except OSError:
            return
        found, end = [], offset
        for entry, behind in read_entries(run.events, offset=offset):
            end = behind
            if entry.event.kind in ("sample", "checkpoint"):
                found.append(entry.event)
        self.post_message(SamplesRead(run.output_dir, tuple(found), end, read_prompts(run.output_dir)))

    @on(SamplesRead)
    def _samples_read(self, message: SamplesRead) -> None:
        if self.run_dir is None or self.table is None or message.path != self.run_dir.output_dir:
            return
        if message.offset <= self._offset:
            return
        self._offset, self.prompts = message.offset, message.prompts
        for event in message.events:
            self.table.feed(event)
        self._show()

    def _show(self) -> None:
        assert self.table is not None and self.run_dir is not None  # noqa: PT018
        grid, empty = self.query_one(SampleGrid), self.query_one("#empty", Static)
        shown = bool(self.table.pictures)
        if not shown:
            empty.update(NO_SAMPLES.format(name=terminal_safe(self.run_dir.name), trigger="hrld person"))
        empty.display, self.query_one("#grid-body").display = not shown, shown
        if shown:
            first = grid.table is not self.table
            grid.picked = picked(self.run_dir)
            grid.show(self.table)
            if first:
                grid.focus()
        self._tell()

    @on(SampleGrid.Moved)
    def _tell(self) -> None:
        """The lines above and below the grid."""
        self.refresh_availability()
        if self.table is None or self.run_dir is None or not self.table.pictures:
            return
        grid = self.query_one(SampleGrid)
        chosen = "" if grid.picked is None else f" · picked to publish: {terminal_safe(grid.picked.name)}"
        self.query_one("#title", Static).update(
            Content.assemble(
                (terminal_safe(self.run_dir.name), "bold"),
                f"  {count(len(self.table.prompts), 'prompt')} at {count(len(self.table.moments), 'step')}{chosen}",
            )
        )
        event = self.table.at(grid.row, grid.column)
        index = self.table.prompts[grid.row]
        prompt = self.prompts[index] if index < len(self.prompts) else "prompt not known"
        seed = "" if event is None or event.seed is None else f"  seed {event.seed}"
        self.query_one("#prompt", Static).update(
            Content.assemble((f"prompt {index + 1}  ", MUTED), terminal_safe(prompt), (seed, MUTED))
        )

    @on(SampleGrid.Zoomed)
    def action_zoom(self) -> None:
        """See it large."""
        self._open_zoom(beside_base=False)

    def action_compare(self) -> None:
        """See it large, the base model's beside it."""
        self._open_zoom(beside_base=True)

    def _open_zoom(self, *, beside_base: bool) -> None:
        from fluxgym_tui.ui.screens.zoom import ZoomScreen

        if self.table is not None and self.table.pictures:
            grid = self.query_one(SampleGrid)
            self.app.push_screen(
                ZoomScreen(self.table, grid.row, grid.column, prompts=self.prompts, colour=grid.colour,
                           beside_base=beside_base),
                self._zoomed,
            )  # fmt: skip

    def _zoomed(self, place: tuple[int, int] | None) -> None:
        if place is not None:
            grid = self.query_one(SampleGrid)
            grid.action_move(place[0] - grid.row, place[1] - grid.column)

    def action_pick(self) -> None:
        """Note the LoRA file of this step as the one to publish."""
        lora = self._lora
        if lora is None or self.run_dir is None:
            return
        try:
            pick(self.run_dir, lora)
        except FluxgymError as error:
            self.fluxgym.tell_error(error)
            return
        self.notify(f"{lora.name} is the one to publish.")
        self._show()

    def action_copy(self) -> None:
        """Copy the path of the picture under the cursor."""
        if (path := self._picture) is not None:
            copy_text(self.fluxgym, str(path), "the path of the picture")

    async def action_edit_prompts(self) -> None:
        """Open the prompts in the user's editor, as a copy: the run draws what it began with."""
        if self.run_dir is not None:
            await read_in_editor(self.fluxgym, self.run_dir.output_dir / "sample_prompts.txt")

    @property
    def _picture(self) -> Path | None:
        """The picture under the cursor; None where none was drawn."""
        if self.table is None or not self.table.pictures:
            return None
        grid = self.query_one(SampleGrid)
        event = self.table.at(grid.row, grid.column)
        return None if event is None else self.table.path_of(event)

    @property
    def _lora(self) -> Path | None:
        if self.table is None or not self.table.pictures:
            return None
        return self.table.lora_of(self.query_one(SampleGrid).column)

    def why_not(self, action: str) -> str | None:
        """What cannot be done with the sample under the cursor, and why."""
        if action not in ("zoom", "compare", "pick", "copy", "edit_prompts"):
            return None
        if self.table is None or not self.table.pictures:
            return "there are no samples"
        if action == "copy" and self._picture is None:
            return "this one was not drawn"
        if action == "compare" and self.table.words(0) != "base model":
            return "this run drew none with the base model (samples.at_first in the spec)"
        if action == "pick" and self._lora is None:
            return "there is no LoRA file of this step"
        return None
