"""The state of a run, derived anew at every look: from processes, exit files and the journal, never from a flag."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json
from fluxgym_tui.runs.commands import CommandPlan, read_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.fold import RunFold, json_number, load_fold
from fluxgym_tui.runs.lock import elsewhere, holder_of, last_holder
from fluxgym_tui.runs.survey import Survey, stop_due, stop_requested, survey


class RunState(StrEnum):
    """Where a run stands; the last four are ends."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether nothing of the run goes on by itself."""
        return self in (RunState.FINISHED, RunState.FAILED, RunState.STOPPED, RunState.INTERRUPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run at one moment. Times are seconds since 1970, `path` and `lora` are absolute; absent facts are None.

    `attempt` is the newest attempt planned; `journaled` whether its end stands in the journal; `supervised` whether a
    supervisor lives; `host` the other machine that it lives on, where it is not this one; `stop_requested` is "stop" or
    "stop-at-checkpoint" where that was asked and the run has not ended.
    """

    name: str
    path: Path
    state: RunState
    step: int = 0
    total: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    avg_loss: float | None = None
    lr: float | None = None
    seconds_per_step: float | None = None
    phase: str | None = None
    done: int | None = None
    todo: int | None = None
    created: float | None = None
    started: float | None = None
    updated: float | None = None
    ended: float | None = None
    outcome: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    fix: str | None = None
    lora: Path | None = None
    checkpoint: str | None = None
    sample: str | None = None
    attempt: int = 1
    journaled: bool = False
    supervised: bool = False
    supervisor_pid: int | None = None
    host: str | None = None
    trainer_pid: int | None = None
    stop_requested: str | None = None

    @property
    def seconds_left(self) -> float | None:
        """An estimate of the training time left; None where nothing is known or nothing runs."""
        if self.state.ended or self.seconds_per_step is None or self.total is None:
            return None
        return max(self.total - self.step, 0) * self.seconds_per_step

    def to_json(self) -> dict[str, Any]:
        """The summary as `runs --json` shows it."""
        data: dict[str, Any] = {name: json_number(getattr(self, name)) for name in self.__dataclass_fields__}
        data["path"], data["state"] = str(self.path), self.state.value
        data["lora"] = None if self.lora is None else str(self.lora)
        data["seconds_left"] = self.seconds_left
        return data


def read_state(run: RunDirectory) -> RunSummary:
    """The truth about `run` at this moment. Only reads. A run of another program is told by its files.

    Raises:
        FluxgymError: there is no run in that folder.
    """
    if not run.manifest.is_file():
        # Imported here: it builds on this module, and few folders are of another program.
        from fluxgym_tui.runs.adopted import adopted_state, is_adopted

        if is_adopted(run):
            return adopted_state(run)
    if not run.exists():
        raise FluxgymError(
            f"{run.output_dir} holds no run",
            hint="`fluxgym-tui runs` lists the runs there are.",
            code=ExitCode.NOT_FOUND,
        )
    try:
        plan: CommandPlan | None = read_plan(run)
    except FluxgymError:
        plan = None  # made, and not yet told what to do; or its command.json was lost: shown as far as it is known
    fold = load_fold(run)
    supervisor = holder_of(run.lock)
    if supervisor is None and not _over(fold, plan):
        fold = load_fold(run)  # it may have ended the run between the two looks
    if plan is None or _over(fold, plan):
        return _summary(run, fold, plan=plan, state=RunState(fold.outcome or "queued"))
    found = survey(run, plan, fold)
    host = elsewhere(run.lock)
    state = _state(run, fold, found, supervised=supervisor is not None or host is not None)
    ended = found.verdict if state.ended else None
    return _summary(
        run,
        fold,
        plan=plan,
        state=state,
        found=found,
        supervisor_pid=None if supervisor is None else supervisor.pid,
        host=host,
        reason=_reason(state, found) if ended is None else ended.reason,
        exit_code=None if ended is None else ended.exit_code,
        fix=None if ended is None else ended.fix,
    )


def _over(fold: RunFold, plan: CommandPlan | None) -> bool:
    return plan is not None and fold.ends >= plan.attempt


def _state(run: RunDirectory, fold: RunFold, found: Survey, *, supervised: bool) -> RunState:
    stopping = stop_due(run, fold)
    if supervised:
        if stopping:
            return RunState.STOPPING
        return (
            RunState.RUNNING if found.phase == "train" and found.begun and found.status.started else RunState.STARTING
        )
    if found.live:
        return RunState.STOPPING if stopping else RunState.RUNNING
    if found.verdict is not None:
        return RunState(found.verdict.outcome)
    if not found.begun and not _taken_up(run):
        return RunState.QUEUED
    return RunState.STOPPED if run.stop.exists() else RunState.INTERRUPTED


def _taken_up(run: RunDirectory) -> bool:
    """Whether a supervisor took the lock since the newest attempt was planned."""
    try:
        return last_holder(run.lock) is not None and run.lock.stat().st_mtime_ns >= run.command.stat().st_mtime_ns
    except OSError:
        return False


def _reason(state: RunState, found: Survey) -> str | None:
    """Why a run without a verdict ended: whoever was to start its next command is gone."""
    if state is RunState.STOPPED:
        return "stopped on request"
    return f"the supervisor was killed before {found.phase} was started" if state is RunState.INTERRUPTED else None


def _summary(
    run: RunDirectory,
    fold: RunFold,
    *,
    plan: CommandPlan | None,
    state: RunState,
    found: Survey | None = None,
    supervisor_pid: int | None = None,
    host: str | None = None,
    reason: str | None = None,
    exit_code: int | None = None,
    fix: str | None = None,
) -> RunSummary:
    told = found is None  # by the journal's own end
    lora = run.output_dir / plan.lora if plan is not None and plan.lora and state is RunState.FINISHED else None
    request = stop_requested(run)
    return RunSummary(
        name=run.name,
        path=run.output_dir,
        state=state,
        step=fold.step,
        total=fold.total,
        epoch=fold.epoch,
        epochs=fold.epochs,
        loss=fold.loss,
        avg_loss=fold.avg_loss,
        lr=fold.lr,
        seconds_per_step=fold.seconds_per_step,
        phase=fold.phase,
        done=fold.done,
        todo=fold.todo,
        created=_created(run),
        started=fold.started,
        updated=fold.updated,
        ended=fold.ended if told else None,
        outcome=state.value if state.ended else None,
        exit_code=fold.exit_code if told else exit_code,
        reason=fold.reason if told else reason,
        fix=_told_fix(fold) if told else fix,
        lora=lora,
        checkpoint=fold.checkpoint,
        sample=fold.sample,
        attempt=1 if plan is None else plan.attempt,
        journaled=told and state.ended,
        supervised=supervisor_pid is not None or host is not None,
        host=host,
        supervisor_pid=supervisor_pid,
        trainer_pid=None if found is None or found.child is None else found.child.pid,
        stop_requested=None if request is None or state.ended else request.name,
    )


def _told_fix(fold: RunFold) -> str | None:
    """What the journal advises where the last attempt failed."""
    return fold.problem_fix if fold.outcome == "failed" and fold.problem_attempt == fold.ends else None


def _created(run: RunDirectory) -> float | None:
    try:
        created = read_json(run.manifest)["created"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(created) if isinstance(created, (int, float)) else None
