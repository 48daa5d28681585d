"""Messages that workers post; their handlers own the state. Nothing else crosses a thread."""

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from fluxgym_tui.base.events import RunEvent
from fluxgym_tui.machine.gpu import Gpu
from fluxgym_tui.runs.state import RunSummary


@dataclass
class RunsListed(Message):
    """The runs of the workspace as they stand now, newest first."""

    runs: tuple[RunSummary, ...]


@dataclass
class RunAdvanced(Message):
    """New events of the run in `path`, all that came since the last look; `summary` is the state at that look."""

    path: Path
    events: tuple[RunEvent, ...]
    summary: RunSummary
    done: bool = False


@dataclass
class MachineSeen(Message):
    """The machine at one moment: its GPUs, and the bytes left on the disk of the run (None where unknown)."""

    gpus: tuple[Gpu, ...]
    disk_free_bytes: int | None


@dataclass
class ActionFailed(Message):
    """What a worker was asked to do did not work: `message` and `hint` are for people."""

    message: str
    hint: str | None = None
