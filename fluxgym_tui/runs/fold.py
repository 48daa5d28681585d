"""A run's journal summed up: what the events say so far; state.json keeps it, so that reading can go on from there."""

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

from fluxgym_tui.base.events import (
    AttemptEvent,
    CheckpointEvent,
    EndEvent,
    EpochEvent,
    PhaseEvent,
    ProblemEvent,
    ProgressEvent,
    RunEvent,
    SampleEvent,
    StepEvent,
)
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import Entry, read_entries

_SCHEMA = 1
_SMOOTHING = 0.1  # weight of the newest step in the mean step time: about the last twenty steps count
_NAMES = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(slots=True)
class RunFold:
    """Sums over a journal's first `offset` bytes. Times are seconds since 1970; absent facts are None.

    `attempts` counts trainer processes started, `ends` attempts that are over, `positions` how far each origin was
    copied; `step_attempt` is the attempt that made `step`; `problem` is of attempt `problem_attempt`. `outcome`,
    `exit_code` and `reason` are the last end's.
    """

    offset: int = 0
    positions: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    ends: int = 0
    started: float | None = None
    updated: float | None = None
    ended: float | None = None
    phase: str | None = None
    done: int | None = None
    todo: int | None = None
    step: int = 0
    step_attempt: int = 0
    total: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    avg_loss: float | None = None
    lr: float | None = None
    seconds_per_step: float | None = None
    checkpoint: str | None = None
    checkpoint_time: float | None = None
    sample: str | None = None
    problem: str | None = None
    problem_fix: str | None = None
    problem_attempt: int = 0
    outcome: str | None = None
    exit_code: int | None = None
    reason: str | None = None

    def add(self, entry: Entry) -> None:
        """Take in the next entry of the journal."""
        if entry.origin is not None:
            self.positions[entry.origin] = entry.position
        event = entry.event
        self.started = event.time if self.started is None else self.started
        self.updated = event.time
        match event:
            case AttemptEvent():
                self.attempts = max(self.attempts, event.number)
                self.phase = None
            case PhaseEvent():
                self.phase, self.done, self.todo = event.name, None, None
            case ProgressEvent():
                self.phase, self.done, self.todo = event.phase, event.done, event.total
            case StepEvent():
                self._add_step(event)
            case EpochEvent():
                self.epoch = event.epoch
                self.epochs = event.epochs if event.epochs is not None else self.epochs
            case CheckpointEvent():
                self.checkpoint, self.checkpoint_time = event.path, event.time
            case SampleEvent():
                self.sample = event.path
            case ProblemEvent():
                self.problem, self.problem_fix, self.problem_attempt = event.title, event.fix, self.ends + 1
            case EndEvent():
                self.ends += 1
                self.outcome, self.exit_code, self.reason = event.outcome, event.exit_code, event.reason
                self.ended = event.time
            case _:
                pass

    def _add_step(self, event: StepEvent) -> None:
        if event.seconds is not None and math.isfinite(event.seconds) and event.step > self.step:
            before = self.seconds_per_step
            self.seconds_per_step = event.seconds if before is None else before + _SMOOTHING * (event.seconds - before)
        if event.step > self.step or self.step_attempt != self.attempts:  # an attempt may begin before the last's end
            self.step, self.step_attempt = event.step, self.attempts
        for name in ("total", "epoch", "loss", "avg_loss", "lr"):
            value = getattr(event, name)
            if value is not None:
                setattr(self, name, value)

    def to_json(self) -> dict[str, Any]:
        """The fold as state.json keeps it; numbers that JSON has no word for become their names."""
        return {"schema": _SCHEMA} | {one.name: json_number(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_json(cls, data: Any) -> "RunFold | None":
        """The fold that `to_json` wrote, or None where `data` is something else."""
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            return None
        try:
            values = {one.name: data[one.name] for one in fields(cls)}
        except KeyError:
            return None
        for name in ("loss", "avg_loss", "lr"):
            values[name] = _NAMES.get(values[name], values[name]) if isinstance(values[name], str) else values[name]
        if not isinstance(values["offset"], int) or not isinstance(values["positions"], dict):
            return None
        return cls(**values)


def json_number(value: Any) -> Any:
    """`value`, or the name of a number that JSON cannot write."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def load_fold(run: RunDirectory) -> RunFold:
    """The run's journal summed up to its last whole line, from where state.json left off if that still fits."""
    fold = _cached(run) or RunFold()
    for entry, end in read_entries(run.events, offset=fold.offset):
        fold.add(entry)
        fold.offset = end
    return fold


def save_fold(run: RunDirectory, fold: RunFold) -> None:
    """Write state.json. OSError."""
    write_json(run.state, fold.to_json())


def event_after(event: RunEvent, *, first_step: int, total: int | None = None) -> RunEvent:
    """`event` of a child that counts its steps from 0, counted over all attempts instead.

    `total` is the length of all attempts together; without one it is the child's own, counted on.
    """
    if first_step == 0 and total is None:
        return event
    changes: dict[str, int] = {}
    for name in ("step", "total") if isinstance(event, StepEvent) else ("step",):
        value = getattr(event, name, None)
        if isinstance(value, int):
            changes[name] = value + first_step if name == "step" or total is None else total
    return replace(event, **changes) if changes else event


def _cached(run: RunDirectory) -> RunFold | None:
    """The fold in state.json, if the journal still has a line's end where it stopped."""
    try:
        fold = RunFold.from_json(read_json(run.state))
        if fold is None or fold.offset == 0:
            return None
        with run.events.open("rb") as file:
            file.seek(fold.offset - 1)
            return fold if file.read(1) == b"\n" else None
    except (OSError, ValueError):
        return None
