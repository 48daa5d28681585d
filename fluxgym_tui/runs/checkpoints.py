"""The LoRA files of a run and the samples that belong to each: by its journal, else by names and headers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.backends.kohya.samples import is_whole, sample_event
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import CheckpointEvent, SampleEvent
from fluxgym_tui.base.files import read_json
from fluxgym_tui.base.prompts import SamplePrompt, parse_prompt, prompt_lines
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.base.text import count
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import read_entries
from fluxgym_tui.runs.picked import picked

# What sd-scripts adds to the name: nothing at the end, else the epoch or the step.
_SUFFIX = re.compile(r"-(?:(?P<epoch>\d{6,})|step(?P<step>\d{8,}))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A LoRA file of a run. `step` and `epoch` count over all attempts; None where nothing tells them.

    `last` says that it bears the run's own name: the file of the end.
    """

    path: Path
    size_bytes: int
    step: int | None = None
    epoch: int | None = None
    last: bool = False

    @property
    def words(self) -> str | None:
        """How far it was trained: `320 steps (epoch 4)`."""
        if self.step is None:
            return None if self.epoch is None else count(self.epoch, "epoch")
        return count(self.step, "step") + ("" if self.epoch is None else f" (epoch {self.epoch})")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePicture:
    """A sample that was drawn: `prompt` is what its index stands for, None where the prompts are not known."""

    path: Path
    index: int
    step: int | None
    epoch: int | None
    prompt: SamplePrompt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSamples:
    """The samples of a checkpoint, in the order of the prompts.

    `step` and `epoch` are the moment they were drawn at; `exact` says whether that is the checkpoint's own, not the
    last one before it.
    """

    pictures: tuple[SamplePicture, ...] = ()
    step: int | None = None
    epoch: int | None = None
    exact: bool = True


class RunFiles:
    """One look at a run's LoRA files and samples; reads the journal once."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._told: dict[str, CheckpointEvent] = {}
        self._drawn: dict[str, SampleEvent] = {}
        for entry, _ in read_entries(run.events, offset=0):
            if isinstance(entry.event, CheckpointEvent):
                self._told[Path(entry.event.path).name] = entry.event
            elif isinstance(entry.event, SampleEvent):
                self._drawn[Path(entry.event.path).name] = entry.event
        self.steps_per_epoch = _steps_per_epoch(run)
        self._adopted = is_adopted(run)
        self.checkpoints = self._checkpoints()

    def _checkpoints(self) -> tuple[Checkpoint, ...]:
        """Every LoRA file of the run in the order of its training, the last one last."""
        found = [self._checkpoint(path) for path in self.run.output_dir.glob("*.safetensors") if _is_file(path)]
        return tuple(sorted(found, key=lambda one: (one.last, one.step or 0, one.epoch or 0, one.path.name)))

    def _checkpoint(self, path: Path) -> Checkpoint:
        event = self._told.get(path.name)
        step, epoch = (None, None) if event is None else (event.step, event.epoch)
        suffix = _SUFFIX.fullmatch(path.stem.removeprefix(self.run.name)) if self._is_ours(path) else None
        if event is None and suffix is not None:
            step = None if suffix["step"] is None else int(suffix["step"])
            epoch = None if suffix["epoch"] is None else int(suffix["epoch"])
        if step is None and epoch is None:
            step, epoch = _from_header(path)
        elif step is None:
            # Where nothing else tells it; a header counts within its attempt, and runs of others have one.
            step = self._step_of(epoch) or (_from_header(path)[0] if self._adopted else None)
        elif epoch is None and self.steps_per_epoch and step % self.steps_per_epoch == 0:
            epoch = step // self.steps_per_epoch
        return Checkpoint(
            path=path, size_bytes=path.stat().st_size, step=step, epoch=epoch, last=path.stem == self.run.name
        )

    def _is_ours(self, path: Path) -> bool:
        return path.stem.startswith(self.run.name)

    def _step_of(self, epoch: int | None) -> int | None:
        return None if epoch is None or not self.steps_per_epoch else epoch * self.steps_per_epoch

    def choose(self, wanted: str | None = None) -> Checkpoint:
        """The LoRA file that `wanted` (its name, its path, an epoch) means; by default the picked one, else the last.

        Raises:
            FluxgymError: there is none; the hint names those there are.
        """
        if not self.checkpoints:
            raise FluxgymError(
                f"{self.run.name} has no LoRA file yet",
                hint="A training writes one at each save and at its end.",
                code=ExitCode.NOT_FOUND,
            )
        if wanted is None:
            chosen = picked(self.run)
            return next((one for one in self.checkpoints if one.path == chosen), self.checkpoints[-1])
        name = Path(wanted).name
        for one in self.checkpoints:
            if name in (one.path.name, one.path.stem) and Path(wanted).parent in (Path(), one.path.parent):
                return one
        if wanted.isdecimal():
            for one in reversed(self.checkpoints):
                if one.epoch == int(wanted):
                    return one
        raise FluxgymError(
            f"{self.run.name} has no LoRA file {wanted!r}",
            hint="There are: " + ", ".join(_listed(one) for one in self.checkpoints) + ".",
            code=ExitCode.NOT_FOUND,
        )

    def samples_of(self, checkpoint: Checkpoint) -> CheckpointSamples:
        """The samples drawn at the moment of `checkpoint`, else those drawn last between the LoRA before and it.

        Of several of one prompt the newest counts; the base model's own, drawn before the first step, never do.
        """
        moments: dict[tuple[int | None, int | None], dict[int, SamplePicture]] = {}
        for picture in self._pictures():
            moments.setdefault((picture.step, picture.epoch), {})[picture.index] = picture
        exact = [moment for moment in moments if _same(moment, checkpoint)]
        if exact:
            together = {index: one for moment in exact for index, one in moments[moment].items()}
            return _as_samples(together, exact[0], exact=True)
        if checkpoint.step is None:
            return CheckpointSamples()
        begin = max((one.step for one in self.checkpoints if one.step and one.step < checkpoint.step), default=0)
        between = [moment for moment in moments if moment[0] and begin < moment[0] < checkpoint.step]
        if not between:
            return CheckpointSamples()
        latest = max(between, key=lambda moment: moment[0] or 0)
        return _as_samples(moments[latest], latest, exact=False)

    def _pictures(self) -> Iterable[SamplePicture]:
        """Every whole sample there is, the oldest first, its step filled in from its epoch where that is known."""
        prompts = read_sample_prompts(self.run.output_dir)
        folder = self.run.samples
        paths = sorted(_pngs(folder), key=lambda path: (path.stat().st_mtime_ns, path.name))
        for path in paths:
            # The journal counts steps over all attempts, which names do not.
            event = self._drawn.get(path.name) or sample_event(path, time=0.0)
            if event is None or not is_whole(path):
                continue
            index = event.prompt_index
            step = event.step if event.step is not None else self._step_of(event.epoch)
            epoch = event.epoch
            if epoch is None and step is not None and self.steps_per_epoch and step % self.steps_per_epoch == 0:
                epoch = step // self.steps_per_epoch
            prompt = prompts[index] if index < len(prompts) else None
            yield SamplePicture(path=path, index=index, step=step, epoch=epoch, prompt=prompt)


def read_sample_prompts(folder: Path) -> list[SamplePrompt]:
    """The prompts of a run, by their index; empty where there are none."""
    try:
        text = (folder / "sample_prompts.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [parse_prompt(line) for line in prompt_lines(text)]


def _same(moment: tuple[int | None, int | None], checkpoint: Checkpoint) -> bool:
    step, epoch = moment
    if step is not None and checkpoint.step is not None:
        return step == checkpoint.step and step > 0
    return epoch is not None and epoch == checkpoint.epoch and epoch > 0


def _as_samples(
    found: dict[int, SamplePicture], moment: tuple[int | None, int | None], *, exact: bool
) -> CheckpointSamples:
    pictures = tuple(found[index] for index in sorted(found))
    return CheckpointSamples(pictures=pictures, step=moment[0], epoch=moment[1], exact=exact)


def _steps_per_epoch(run: RunDirectory) -> int | None:
    try:
        value = read_json(run.manifest)["steps_per_epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, int) and value > 0 else None


def _from_header(path: Path) -> tuple[int | None, int | None]:
    """Step and epoch as the file's own header has them."""
    try:
        facts: dict[str, Any] = dict(read_header(path).metadata)
    except (FluxgymError, OSError):
        return None, None
    return _whole(facts.get("ss_steps")), _whole(facts.get("ss_epoch"))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _pngs(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.glob("*.png") if path.is_file()]
    except OSError:
        return []


def _listed(one: Checkpoint) -> str:
    return one.path.name + (f" (epoch {one.epoch})" if one.epoch is not None else "")
