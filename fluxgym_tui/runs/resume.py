"""Going on with a run that ended: one more attempt from the newest state, to the planned end or some epochs further."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fluxgym_tui.backends.resume import (
    Length,
    ResumedCommand,
    ResumePoint,
    nothing_to_resume,
    resume_points,
    resumed_command,
)
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.base.text import count
from fluxgym_tui.runs.adopted import refuse_adopted
from fluxgym_tui.runs.children import settled
from fluxgym_tui.runs.commands import CommandPlan, read_plan, write_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.interrupts import hold_interrupts
from fluxgym_tui.runs.launch import write_script
from fluxgym_tui.runs.lock import holder_of
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import RunState, read_state
from fluxgym_tui.runs.undo import as_it_was_unless_begun

_LEAVE_S = 30.0  # a supervisor that told an end has only small files left to write


def resume(
    run: RunDirectory,
    *,
    more_epochs: int | None = None,
    weights: bool = False,
    narrate: Callable[[str], None] | None = None,
) -> None:
    """Start one more attempt of `run`, which goes on where the furthest state was saved.

    A run that ended before its training began, while its model was downloaded, begins it. Else it trains to the end
    that was planned, or `more_epochs` epochs further. With `weights` (kohya) it begins with the
    newest LoRA and a fresh optimiser. Its steps, epochs and files are numbered on from those before.

    Raises:
        FluxgymError: the run goes on, has nothing left to do, left nothing to go on from, or cannot be started.
        KeyboardInterrupt: Ctrl+C; the run is as it was before, or goes on (`read_state`).
    """
    tell = narrate or (lambda _: None)
    refuse_adopted(run)
    summary = read_state(run)
    if not summary.state.ended:
        raise FluxgymError(
            f"{run.name} has not ended: it is {summary.state}",
            hint=f"fluxgym-tui follow {run.name}   watches it; fluxgym-tui stop {run.name}   stops it.",
            code=ExitCode.BUSY,
        )
    finished = summary.state is RunState.FINISHED
    if finished and more_epochs is None:
        raise FluxgymError(f"{run.name} has finished", hint=f"For more: fluxgym-tui resume {run.name} --epochs 4")
    _let_go(run)
    plan = read_plan(run)
    if not finished and not was_trained(run, plan):
        if more_epochs is not None or weights:
            raise FluxgymError(
                f"{run.name} ended before its training began",
                hint=f"fluxgym-tui resume {run.name}   begins it; it can be made longer after that.",
            )
        tell(f"{run.name} ended before its training began: it begins now, with what was downloaded so far")
        _begin(run, plan)
        return
    facts: dict[str, Any] = read_json(run.manifest)
    backend, planned = _planned(run, facts)
    length = planned if more_epochs is None else planned.longer(more_epochs)
    points = _points(run, backend=backend, planned=planned, weights=weights, finished=finished)
    if not points:
        raise nothing_to_resume(run.name, backend=backend, weights=weights)
    point = points[-1]
    if point.step >= length.steps:
        raise FluxgymError(
            f"{point.path.name} was saved at the end of {run.name}: there is nothing left to train",
            hint=f"For more: fluxgym-tui resume {run.name} --epochs 4",
        )
    command = resumed_command(_trainer(plan).argv, point, backend=backend, length=length, planned=planned)
    for note in command.notes:
        tell(note)
    left = length.steps - point.step
    tell(f"{run.name} goes on from {point.path.name}, step {point.step:,}: {count(left, 'step')} to {length.steps:,}")
    with hold_interrupts(), as_it_was_unless_begun(run):
        try:
            _write(run, plan, command, point=point, length=length, facts=facts)
            if finished:
                _keep_last(run, planned)
        except OSError as error:
            raise _cannot_write(run, error) from error
        start(run)


def was_trained(run: RunDirectory, plan: CommandPlan) -> bool:
    """Whether the trainer of any attempt was ever started: a download or the staging may have ended the run before."""
    return any(settled(run.child("train", number)).started for number in range(1, plan.attempt + 1))


def _begin(run: RunDirectory, plan: CommandPlan) -> None:
    """One more attempt of the same commands."""
    with hold_interrupts(), as_it_was_unless_begun(run):
        try:
            write_plan(run, replace(plan, attempt=plan.attempt + 1))
        except OSError as error:
            raise _cannot_write(run, error) from error
        start(run)


def _cannot_write(run: RunDirectory, error: OSError) -> FluxgymError:
    return FluxgymError(
        f"cannot write the run's files in {run.output_dir}: {error.strerror}",
        hint="Check that the disk has room and the folder is yours.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospects:
    """What `resume` would begin with: the furthest whole state and the newest LoRA; None where there is none.

    `why_no_state` and `why_no_weights` say why, in words. A run that is `untrained` ended before its trainer was ever
    started, and can only begin.
    """

    length: Length
    finished: bool
    untrained: bool = False
    state: ResumePoint | None
    weights: ResumePoint | None
    why_no_state: str = ""
    why_no_weights: str = ""


def prospects(run: RunDirectory) -> Prospects:
    """What a run that has ended can go on from.

    Raises:
        FluxgymError: it goes on, does not say how long it was to be, or is another program's.
    """
    refuse_adopted(run)
    summary = read_state(run)
    if not summary.state.ended:
        raise FluxgymError(f"{run.name} has not ended: it is {summary.state}", code=ExitCode.BUSY)
    try:
        facts: dict[str, Any] = read_json(run.manifest)
    except (OSError, ValueError) as error:
        raise FluxgymError(f"{run.manifest} cannot be read", hint="Start it again from its run/spec.yaml.") from error
    backend, planned = _planned(run, facts)
    finished = summary.state is RunState.FINISHED
    found: dict[bool, ResumePoint | None] = {}
    for weights in (False, True):
        points = _points(run, backend=backend, planned=planned, weights=weights, finished=finished)
        found[weights] = points[-1] if points else None
    why = "" if found[False] else "it saved no whole state (flags.save_state: true saves them)"
    why_weights = "" if found[True] else "it left no LoRA file"
    if backend != "kohya":
        found[True], why_weights = None, "the built-in trainer goes on from states only"
    return Prospects(
        length=planned,
        finished=finished,
        untrained=not finished and not was_trained(run, read_plan(run)),
        state=found[False],
        weights=found[True],
        why_no_state=why,
        why_no_weights=why_weights,
    )


def _points(run: RunDirectory, *, backend: str, planned: Length, weights: bool, finished: bool) -> list[ResumePoint]:
    points = resume_points(run.output_dir, run.name, backend=backend, length=planned, weights=weights)
    if not finished:
        # A LoRA without a number is of some earlier end; what the run reached since is not known from its name.
        points = [point for point in points if point.kind == "state" or point.path.stem != run.name]
    return points


def _let_go(run: RunDirectory) -> None:
    """Wait until the supervisor of the attempt before, which has told its end, has left: the next needs its lock."""
    deadline = time.monotonic() + _LEAVE_S
    while holder_of(run.lock) is not None:
        if time.monotonic() > deadline:
            raise FluxgymError(
                f"the supervisor of {run.name} has not left yet", hint="Try again in a moment.", code=ExitCode.BUSY
            )
        time.sleep(0.05)


def _planned(run: RunDirectory, facts: dict[str, Any]) -> tuple[str, Length]:
    """Which trainer, and how long the run was to be, as its manifest has it."""
    try:
        length = Length(
            epochs=int(facts["epochs"]), steps=int(facts["total_steps"]), steps_per_epoch=int(facts["steps_per_epoch"])
        )
        return str(facts["backend"]), length
    except (KeyError, TypeError, ValueError) as error:
        raise FluxgymError(
            f"{run.manifest} does not say how long the run was to be", hint="Start it again from its run/spec.yaml."
        ) from error


def _trainer(plan: CommandPlan) -> Any:
    trainer = next((child for child in plan.children if child.phase == "train"), None)
    if trainer is None:
        raise FluxgymError("the run's command.json trains nothing", hint="Start it again from its run/spec.yaml.")
    return trainer


def _write(
    run: RunDirectory,
    plan: CommandPlan,
    command: ResumedCommand,
    *,
    point: ResumePoint,
    length: Length,
    facts: dict[str, Any],
) -> None:
    """command.json, train.sh and the manifest of the next attempt."""
    children = tuple(replace(child, argv=command.argv) if child.phase == "train" else child for child in plan.children)
    attempt = plan.attempt + 1
    record = {
        "attempt": attempt,
        "time": time.time(),
        "from": point.path.name,
        "kind": point.kind,
        "step": point.step,
        "epoch": point.epoch,
        "total_steps": length.steps,
    }
    facts |= {"epochs": length.epochs, "total_steps": length.steps, "resumed": [*facts.get("resumed", []), record]}
    write_json(run.manifest, facts)
    write_script(run, list(children))
    write_plan(
        run,
        replace(plan, children=children, attempt=attempt, first_step=command.first_step, total=length.steps),
    )


def _keep_last(run: RunDirectory, planned: Length) -> None:
    """The LoRA of the end so far, under its epoch's name: the new end's will take its place."""
    last = run.output_dir / f"{run.name}.safetensors"
    kept: Path = run.output_dir / f"{run.name}-{planned.epochs:06d}.safetensors"
    if last.is_file() and not kept.exists():
        shutil.copy2(last, kept)
