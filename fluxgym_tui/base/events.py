"""Events: one fact about a run each, written as JSON Lines and read by everything that watches."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, get_args

SCHEMA = 1

Phase = Literal["download", "prepare", "load", "cache_latents", "cache_text", "train", "sample", "save", "publish"]
PHASES: tuple[str, ...] = get_args(Phase)
Outcome = Literal["finished", "failed", "stopped", "interrupted"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """The common part: `schema` (of the event), `time` (seconds since 1970), `kind`. Absent facts are None."""

    kind: ClassVar[str] = ""

    time: float
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """The event as a dict for one JSON line, `kind` first; a number that JSON has no word for becomes its name."""
        data: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                value = "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
            data[field.name] = value
        return data

    def to_line(self) -> str:
        """The event as one JSON line, with its newline; ASCII, so that any file name survives."""
        return json.dumps(self.to_json(), separators=(",", ":"), allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEvent(RunEvent):
    """A trainer process was started: the first of a run, or one more by a resume."""

    kind: ClassVar[str] = "attempt"
    number: int
    command: list[str]
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEvent(RunEvent):
    """The run entered a phase."""

    kind: ClassVar[str] = "phase"
    name: Phase
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent(RunEvent):
    """Countable work inside a phase that has no steps: pictures staged, latents cached, bytes fetched.

    `item` is the one at hand, a file, of which `item_done` of `item_total` units are done; `rate` is units a second,
    `left_s` the time that the rest takes at that rate.
    """

    kind: ClassVar[str] = "progress"
    phase: Phase
    done: int
    total: int | None = None
    unit: str | None = None
    item: str | None = None
    item_done: int | None = None
    item_total: int | None = None
    rate: float | None = None
    left_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent(RunEvent):
    """One optimiser step. `step` counts over all attempts; a later event of the same step amends the earlier.

    `loss` is the step's own, `avg_loss` the running mean a trainer prints; `seconds` is the time the step took. What an
    amendment has no value for stays as it was; it may come when later steps are told already.
    """

    kind: ClassVar[str] = "step"
    step: int
    total: int | None = None
    epoch: int | None = None
    loss: float | None = None
    avg_loss: float | None = None
    lr: float | None = None
    seconds: float | None = None

    def amended(self, by: "StepEvent") -> "StepEvent":
        """This step with all that `by` has a value for; its time stays."""
        told = {name: getattr(by, name) for name in ("total", "epoch", "loss", "avg_loss", "lr", "seconds")}
        return replace(self, **{name: value for name, value in told.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEvent(RunEvent):
    """Epoch `epoch` (from 1) of `epochs` begins."""

    kind: ClassVar[str] = "epoch"
    epoch: int
    epochs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointEvent(RunEvent):
    """A LoRA file was written whole."""

    kind: ClassVar[str] = "checkpoint"
    path: str
    step: int | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleEvent(RunEvent):
    """A sample picture was written whole."""

    kind: ClassVar[str] = "sample"
    path: str
    prompt_index: int
    step: int | None = None
    epoch: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEvent(RunEvent):
    """The mean loss over `pictures` at fixed noise and fixed sigmas, `when` = "before" or "after" training."""

    kind: ClassVar[str] = "probe"
    when: Literal["before", "after"]
    loss: float
    step: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationEvent(RunEvent):
    """The mean loss over the `pictures` kept back for validation, after `step`, at the same noise every time.

    `avg_loss` is the running mean of the training at that step, to compare with.
    """

    kind: ClassVar[str] = "validation"
    step: int
    epoch: int
    loss: float
    pictures: int
    avg_loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEvent(RunEvent):
    """Something to know that does not stop the run. `log_offset` is the byte in the attempt's log that shows it."""

    kind: ClassVar[str] = "warning"
    code: str
    title: str
    detail: str | None = None
    fix: str | None = None
    log_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemEvent(RunEvent):
    """What made the run fail, explained."""

    kind: ClassVar[str] = "problem"
    code: str
    title: str
    detail: str | None = None
    fix: str | None = None
    log_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEvent(RunEvent):
    """An attempt of the run is over."""

    kind: ClassVar[str] = "end"
    outcome: Outcome
    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(RunEvent):
    """An event of a kind that this version does not know; `data` keeps it whole."""

    kind: ClassVar[str] = "unknown"
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return self.data


_KINDS: dict[str, type[RunEvent]] = {
    cls.kind: cls
    for cls in (
        AttemptEvent,
        PhaseEvent,
        ProgressEvent,
        StepEvent,
        EpochEvent,
        CheckpointEvent,
        SampleEvent,
        ProbeEvent,
        ValidationEvent,
        WarningEvent,
        ProblemEvent,
        EndEvent,
    )
}
_NAMED_NUMBERS: dict[str, float] = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_FIELD_NAMES = {cls: frozenset(field.name for field in fields(cls)) for cls in _KINDS.values()}
_FLOATS = {cls: [field.name for field in fields(cls) if "float" in str(field.type)] for cls in _KINDS.values()}


def from_json(data: dict[str, Any]) -> RunEvent:
    """The event that `to_json` wrote. An unknown kind or unfit fields give `UnknownEvent`; unknown fields are left out.

    Raises:
        ValueError: `data` has no usable `time`.
    """
    time = data.get("time")
    if not isinstance(time, (int, float)):
        raise ValueError("an event has no time")
    cls = _KINDS.get(str(data.get("kind")))
    if cls is None:
        return UnknownEvent(time=float(time), data=data)
    values = {key: value for key, value in data.items() if key in _FIELD_NAMES[cls]}
    for name in _FLOATS[cls]:
        if isinstance(values.get(name), str):
            values[name] = _NAMED_NUMBERS.get(values[name])
    try:
        return cls(**values)
    except TypeError:
        return UnknownEvent(time=float(time), data=data)


def from_line(line: str | bytes) -> RunEvent | None:
    """The event on one JSON line, or None where the line is torn, empty or no event."""
    try:
        data = json.loads(line)
        return from_json(data) if isinstance(data, dict) else None
    except (ValueError, UnicodeDecodeError):
        return None


EventSink = Callable[[RunEvent], None]
