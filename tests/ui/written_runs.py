"""Runs written as files alone: journals of any length in any state, with nothing started."""

from dataclasses import replace
from pathlib import Path

from fluxgym_tui.base import events
from fluxgym_tui.base.files import write_json
from fluxgym_tui.machine.processes import identify
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.runs.journal import Entry, JournalWriter

BEGAN = 1_760_000_000.0


def write_run(
    outputs: Path,
    name: str,
    *,
    steps: int = 40,
    total: int = 40,
    outcome: events.Outcome | None = "finished",
    problem: events.ProblemEvent | None = None,
    reason: str | None = None,
    log: str | None = None,
    began: float = BEGAN,
) -> RunDirectory:
    """A run whose journal has `steps` of `total` steps, epochs of 10, a LoRA each 10 steps, and the end `outcome`.

    With `outcome` None the journal has no end and its supervisor is dead, so it was interrupted.
    """
    run = create(outputs, name)
    write_plan(run, CommandPlan(children=(ChildCommand(phase="train", argv=("true",), cwd=run.output_dir),)))
    told: list[events.RunEvent] = [
        events.AttemptEvent(time=began, number=1, command=["true"], pid=1),
        events.PhaseEvent(time=began, name="train"),
    ]
    for step in range(1, steps + 1):
        now = began + step
        if step % 10 == 1:
            told.append(events.EpochEvent(time=now, epoch=step // 10 + 1, epochs=max(1, total // 10)))
        told.append(
            events.StepEvent(
                time=now, step=step, total=total, epoch=(step - 1) // 10 + 1, lr=8e-4, seconds=1.0,
                loss=0.3 + 0.5 / step + 0.05 * ((step * 7919) % 13) / 13,
            )
        )  # fmt: skip
        if step % 10 == 0 and step < total:
            told.append(events.CheckpointEvent(time=now, path=f"{name}-{step:06d}.safetensors", step=step))
    if problem is not None:
        told.append(problem)
    if outcome is not None:
        told.append(events.EndEvent(time=began + steps + 1, outcome=outcome, exit_code=0, reason=reason))
    writer = JournalWriter(run.events)
    writer.append([Entry(event) for event in told])
    writer.close()
    holder = identify()
    assert holder is not None
    dead = replace(holder, start_ticks=holder.start_ticks - 1)  # an earlier process of the same pid
    write_json(run.lock, dead.to_json())
    run.log(1).write_text(log if log is not None else "loading\nsteps: done\n", encoding="utf-8")
    return run
