"""What a run's files and the process table say together, whether or not a supervisor ever told."""

from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.files import read_json
from fluxgym_tui.machine.memory import oom_kills
from fluxgym_tui.machine.processes import Identity
from fluxgym_tui.runs.children import ChildStatus, settled
from fluxgym_tui.runs.commands import CommandPlan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.fold import RunFold
from fluxgym_tui.runs.outcome import Facts, Verdict, judge
from fluxgym_tui.runs.verify import verify_lora


@dataclass(frozen=True, slots=True)
class Survey:
    """Where the newest attempt stands by its children: `phase` is the child that decides, `status` its files.

    `live` is whether that child's process runs (or its wrapper, about to write its exit code); `begun` whether any
    child was ever started; `verdict` is there once the attempt is decided: what was started has ended or is lost.
    """

    phase: str | None
    status: ChildStatus
    live: bool
    begun: bool
    verdict: Verdict | None

    @property
    def child(self) -> Identity | None:
        """The deciding child's process, where it lives."""
        return self.status.child if self.live else None


def survey(run: RunDirectory, plan: CommandPlan, fold: RunFold) -> Survey:
    """Look at the children of `plan` in their order. Reads the LoRA where all of them ended well."""
    begun = False
    status = ChildStatus()
    phase: str | None = None
    for child in plan.children:
        phase, status = child.phase, settled(run.child(child.phase, plan.attempt))
        begun = begun or status.started
        if not status.started:
            return Survey(phase, status, live=False, begun=begun, verdict=None)
        if not status.over and not status.lost:
            return Survey(phase, status, live=True, begun=True, verdict=None)
        if status.exit_code != 0 or phase == "train":
            break
    if phase is None:
        return Survey(None, status, live=False, begun=False, verdict=Verdict("finished", 0))
    return Survey(phase, status, live=False, begun=True, verdict=verdict_on(run, plan, fold, phase, status))


def verdict_on(run: RunDirectory, plan: CommandPlan, fold: RunFold, phase: str, status: ChildStatus) -> Verdict:
    """The verdict on an attempt whose child `phase` is over or lost."""
    lora = None
    if phase == "train" and plan.lora is not None and status.exit_code == 0:
        lora = verify_lora(run.output_dir / plan.lora, not_before_ns=status.started_ns)
    killed: bool | None = None
    now = oom_kills()
    if now is not None and status.oom_kills is not None and not status.from_another_boot:
        killed = now > status.oom_kills
    return judge(
        Facts(
            phase=phase,
            exit_code=status.exit_code,
            stop_requested=stop_due(run, fold),
            lora=lora,
            step=fold.step,
            total=fold.total,
            killed_for_memory=killed,
            other_boot=status.from_another_boot,
        )
    )


def stop_requested(run: RunDirectory) -> Path | None:
    """The request to stop that lies in `control/`, the immediate one first; None where there is none."""
    return next((path for path in (run.stop, run.stop_at_checkpoint) if path.exists()), None)


def stop_due(run: RunDirectory, fold: RunFold) -> bool:
    """Whether the trainer is to be stopped now: it was asked, or asked for after a LoRA that was written since."""
    if run.stop.exists():
        return True
    asked = _asked_at(run.stop_at_checkpoint)
    return asked is not None and fold.checkpoint_time is not None and fold.checkpoint_time > asked


def _asked_at(request: Path) -> float | None:
    """When a request was made: as it says itself or, made by hand, by its file's time."""
    try:
        made = request.stat().st_mtime
    except OSError:
        return None
    try:
        return float(read_json(request)["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return made
