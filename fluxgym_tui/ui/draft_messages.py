"""What the workers around the draft tell: it was opened, its folder scanned, its plan made, it was saved, started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.checks.preflight import Preflight
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.dataset.scanned import ScanResult
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.ui.draft import OpenedDraft, Value
from fluxgym_tui.ui.draft_files import SavedDraft


@dataclass
class DraftOpened(Message):
    """A draft to work on, with what a form needs: the values of a new spec, and the choices of fields by key.

    `asked` tells the draft of a folder that the user chose from the one that the app begins with.
    """

    opened: OpenedDraft
    defaults: Mapping[str, Value]
    choices: Mapping[str, tuple[str, ...]]
    error: FluxgymError | None = None
    asked: bool = False


@dataclass
class FolderScanned(Message):
    """What lies in the folders of pictures; `scans` is None where `folder`, the first, cannot be read, and why.

    A folder that is as it was has the very result that it had.
    """

    folder: Path
    scans: Mapping[Path, ScanResult] | None
    problem: str = ""


@dataclass
class Surveyed(Message):
    """The preflight of `spec`, or why there is none."""

    spec: TrainSpec
    ready: Preflight | None
    problem: str = ""
    seconds_per_step: float | None = None
    pace_of: str = ""


@dataclass
class DraftSaved(Message):
    """The draft of that generation is kept; or not, and `error` says why."""

    generation: int
    saved: SavedDraft | None
    error: FluxgymError | None = None


@dataclass
class StartAsked(Message):
    """Runs that are alive while another is to be started: the user is asked."""

    alive: tuple[str, ...]


@dataclass
class StartEnded(Message):
    """The run that was started and which of its files are edited by hand, or why none was."""

    run: RunDirectory | None
    error: FluxgymError | None = None
    edited: tuple[str, ...] = ()
