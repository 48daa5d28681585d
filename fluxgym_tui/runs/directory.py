"""The run directory: where each file of a run lies, and how a new one gets its name."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui import __version__
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import write_json

_MAX_SUFFIX = 10_000


@dataclass(frozen=True, slots=True)
class ChildFiles:
    """The files of one child process: `phase` of attempt `number`.

    The trainer's are `train-001.log`, `exit-001`, `trainer-001.jsonl` and `process-001.json`; those of another phase
    carry its name.
    """

    run_dir: Path
    phase: str
    number: int

    @property
    def _suffix(self) -> str:
        return f"{self.number:03d}" if self.phase == "train" else f"{self.phase}-{self.number:03d}"

    @property
    def log(self) -> Path:
        """What the child prints, both streams."""
        return self.run_dir / f"{self.phase}-{self.number:03d}.log"

    @property
    def exit(self) -> Path:
        """Its exit code, or minus the signal that ended it, in decimal; written by the wrapper when it is over."""
        return self.run_dir / f"exit-{self._suffix}"

    @property
    def events(self) -> Path:
        """Events that the child itself writes (`FLUXGYM_EVENTS`), its steps counted from 0."""
        return self.run_dir / (f"trainer-{self._suffix}.jsonl" if self.phase == "train" else f"{self._suffix}.jsonl")

    @property
    def process(self) -> Path:
        """Who the wrapper and the child are; there before the child's program begins."""
        return self.run_dir / f"process-{self._suffix}.json"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run under `outputs/`: `output_dir` is what the user sees, `run_dir` the truth about the run."""

    output_dir: Path

    @property
    def name(self) -> str:
        """The run's name, which is its folder's and its LoRA's."""
        return self.output_dir.name

    @property
    def run_dir(self) -> Path:
        """The folder of everything that is ours."""
        return self.output_dir / "run"

    @property
    def spec(self) -> Path:
        """The spec with every `auto` resolved."""
        return self.run_dir / "spec.yaml"

    @property
    def command(self) -> Path:
        """The child commands of the newest attempt (`runs.commands`)."""
        return self.run_dir / "command.json"

    @property
    def manifest(self) -> Path:
        """Facts fixed when the run was made."""
        return self.run_dir / "manifest.json"

    @property
    def state(self) -> Path:
        """The journal folded up to some byte: a cache, never a truth of its own."""
        return self.run_dir / "state.json"

    @property
    def events(self) -> Path:
        """The journal: every event of the run, written by whoever holds `lock`."""
        return self.run_dir / "events.jsonl"

    @property
    def lock(self) -> Path:
        """Held (flock) by the one supervisor, and naming it."""
        return self.run_dir / "lock"

    @property
    def control(self) -> Path:
        """Where requests to the supervisor are put."""
        return self.run_dir / "control"

    @property
    def stop(self) -> Path:
        """The request to stop now; an empty file made by hand will do."""
        return self.control / "stop"

    @property
    def stop_at_checkpoint(self) -> Path:
        """The request to stop once the next LoRA file is whole."""
        return self.control / "stop-at-checkpoint"

    @property
    def supervisor_log(self) -> Path:
        """What supervisors print: nothing, unless something is wrong with them."""
        return self.run_dir / "supervisor.log"

    @property
    def samples(self) -> Path:
        """Sample pictures, where users of kohya look for them."""
        return self.output_dir / "sample"

    def child(self, phase: str, number: int) -> ChildFiles:
        """The files of the child `phase` of attempt `number`."""
        return ChildFiles(self.run_dir, phase, number)

    def log(self, number: int) -> Path:
        """The trainer's log of attempt `number`."""
        return self.child("train", number).log

    def exit_file(self, number: int) -> Path:
        """The trainer's exit code of attempt `number`."""
        return self.child("train", number).exit

    def exists(self) -> bool:
        """Whether a run was ever made here."""
        return self.run_dir.is_dir()


def create(outputs: Path, output_name: str) -> RunDirectory:
    """Make the directory of a new run: `outputs/output_name`, or `-2`, `-3` ... where that name is taken.

    A folder that holds anything at all is taken, whoever made it. Two processes that ask at once get two names.

    Raises:
        FluxgymError: the folder cannot be made.
    """
    if not output_name or "/" in output_name or output_name in (".", ".."):
        raise FluxgymError(f"{output_name!r} cannot name a run", hint="Use letters, digits and hyphens.")
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        for name in _names(output_name):
            run = RunDirectory(Path(os.path.abspath(outputs)) / name)  # noqa: PTH100 - resolve() would follow links
            if _claim(run):
                run.control.mkdir()
                write_json(
                    run.manifest,
                    {"schema": 1, "name": name, "created": time.time(), "fluxgym_tui": __version__},
                )
                return run
    except OSError as error:
        raise FluxgymError(
            f"cannot make a run in {outputs}: {error.strerror}",
            hint="Check that the folder is yours and the disk has room, or choose another workspace.",
        ) from error
    raise FluxgymError(f"{outputs} already holds {_MAX_SUFFIX:,} runs named {output_name}", hint="Choose another name.")


def next_name(outputs: Path, output_name: str) -> str:
    """The name that `create` would give a run now. Makes nothing."""
    return next((name for name in _names(output_name) if not _is_taken(outputs / name)), output_name)


def _names(output_name: str) -> Iterator[str]:
    """The names to try, in their order."""
    yield output_name
    for number in range(2, _MAX_SUFFIX):
        yield f"{output_name}-{number}"


def _is_taken(folder: Path) -> bool:
    """Whether the folder holds anything at all; one that cannot be read does."""
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _claim(run: RunDirectory) -> bool:
    """Take the folder if it is free; the making of `run/` decides between two that try at once."""
    run.output_dir.mkdir(exist_ok=True)
    if _is_taken(run.output_dir):
        return False
    try:
        run.run_dir.mkdir()
    except FileExistsError:
        return False
    return True
