"""Where a training can go on from: the states and LoRA files that trainers left, and what they ask of its command."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fluxgym_tui.backends.arguments import has_option, whole_option, with_options
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json
from fluxgym_tui.base.safetensors import read_header

# What accelerate writes into a state of sd-scripts; the last one comes last.
_KOHYA_STATE = ("train_state.json", "model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl")
_BUILTIN_STATE = ("train_state.json", "state.safetensors")
_OF_EPOCH = re.compile(r"-(\d{6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a run is to be, counted from its very first step. `steps` need not be whole epochs."""

    epochs: int
    steps: int
    steps_per_epoch: int

    def longer(self, more_epochs: int) -> "Length":
        """The same with so many epochs more; what was begun of an epoch is made whole first."""
        epochs = self.epochs + more_epochs
        return Length(epochs=epochs, steps=epochs * self.steps_per_epoch, steps_per_epoch=self.steps_per_epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """A training after step `step` of the whole run, in its epoch `epoch`.

    `path` is a state's folder, or with `kind` weights a LoRA, from which the optimiser starts afresh.
    """

    path: Path
    step: int
    epoch: int
    kind: Literal["state", "weights"] = "state"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumedCommand:
    """The trainer's command that goes on. `first_step` is what its own step numbers lack; `notes` are for people."""

    argv: tuple[str, ...]
    first_step: int
    notes: tuple[str, ...] = ()


def resume_points(output_dir: Path, name: str, *, backend: str, length: Length, weights: bool) -> list[ResumePoint]:
    """What the run `name` of `backend` can go on from, the furthest last; of `weights` its LoRA files, else states.

    Only whole ones count: a state is many files, and what ended the run may have ended the writing of it.
    """
    if weights:
        found = [_weights(path, name, length) for path in output_dir.glob(f"{name}*.safetensors")]
    else:
        read = _kohya_state if backend == "kohya" else _builtin_state
        found = [_read(read, folder, length) for folder in output_dir.glob(f"{name}*-state")]
    return sorted((point for point in found if point is not None), key=lambda point: point.step)


def resumed_command(
    argv: tuple[str, ...], point: ResumePoint, *, backend: str, length: Length, planned: Length
) -> ResumedCommand:
    """The command `argv` of a run that was `planned` so long, going on at `point` until `length`.

    Raises:
        FluxgymError: this trainer cannot do that exactly.
    """
    if backend == "kohya":
        return _resumed_kohya(argv, point, length)
    if point.kind == "weights":
        raise FluxgymError(
            "the built-in trainer goes on from states only",
            hint="For a new run that begins with these weights: flags.network_weights of its spec.",
        )
    changes: dict[str, str | None] = {"resume": str(point.path)}
    if length != planned:
        changes |= {"max_train_epochs": str(length.epochs), "max_train_steps": None}
    return ResumedCommand(argv=with_options(argv, changes), first_step=0)


def _resumed_kohya(argv: tuple[str, ...], point: ResumePoint, length: Length) -> ResumedCommand:
    """sd-scripts counts steps from 0 in every process, and epochs from `--initial_epoch`, whose earlier ones it skips.

    So the epochs to make are said exactly, and never by its own state file, whose step is that process's own.
    """
    if length.steps % length.steps_per_epoch:
        raise FluxgymError(
            f"the run ends within an epoch (step {length.steps:,}), where sd-scripts cannot end a resumed training",
            hint="Ask for whole epochs: --epochs 0 makes the last one whole, --epochs 2 adds two.",
        )
    changes: dict[str, str | None] = {
        "max_train_epochs": str(length.epochs),
        "max_train_steps": None,
        "initial_epoch": str(point.epoch + 1),
        "initial_step": None,
        "skip_until_initial_step": None,
        "resume": str(point.path) if point.kind == "state" else None,
    }
    if point.kind == "weights":
        changes["network_weights"] = str(point.path)
    notes = []
    if has_option(argv, "save_every_n_steps"):
        # Its numbers would begin again, and overwrite the files of the steps before.
        changes["save_every_n_steps"] = None
        if not has_option(argv, "save_every_n_epochs"):
            changes["save_every_n_epochs"] = "1"
        notes.append("checkpoints come by epochs from here on: sd-scripts would number those by steps from 1 again")
    # Its samples go by the process's own steps, too, and are drawn before the LoRA is saved.
    ends = {"sample_every_n_steps": length.steps - point.step, "sample_every_n_epochs": length.epochs}
    if any((every := whole_option(argv, name)) and last % every == 0 for name, last in ends.items()):
        notes.append("sample pictures fall on the last step, before sd-scripts saves the LoRA: a crash there loses it")
    return ResumedCommand(argv=with_options(argv, changes), first_step=point.step, notes=tuple(notes))


def _read(read: Callable[[Path, Length], ResumePoint | None], folder: Path, length: Length) -> ResumePoint | None:
    try:
        return read(folder, length)
    except (OSError, ValueError, KeyError, TypeError, FluxgymError):
        return None


def _kohya_state(folder: Path, length: Length) -> ResumePoint | None:
    """A state of sd-scripts at the end of an epoch; its file's epoch is the run's, its step is not."""
    if any(not (folder / name).is_file() for name in _KOHYA_STATE):
        return None
    read_header(folder / "model.safetensors")
    facts: dict[str, Any] = read_json(folder / "train_state.json")
    epoch = int(facts["current_epoch"])
    stem = folder.name.removesuffix("-state")
    numbered = _OF_EPOCH.fullmatch(stem[-7:])
    if "-step" in stem[-13:] or (numbered is not None and int(numbered[1]) != epoch):
        return None  # within an epoch, where sd-scripts cannot go on exactly
    return ResumePoint(path=folder, epoch=epoch, step=min(epoch * length.steps_per_epoch, length.steps))


def _builtin_state(folder: Path, _: Length) -> ResumePoint | None:
    if any(not (folder / name).is_file() for name in _BUILTIN_STATE):
        return None
    facts: dict[str, Any] = read_json(folder / "train_state.json")
    return ResumePoint(path=folder, epoch=int(facts["current_epoch"]), step=int(facts["current_step"]))


def _weights(path: Path, name: str, length: Length) -> ResumePoint | None:
    """The LoRA at `path`, if its name says after which epoch it was written and it opens."""
    after = path.stem.removeprefix(name)
    numbered = _OF_EPOCH.fullmatch(after)
    if after and numbered is None:
        return None
    try:
        read_header(path)
    except FluxgymError:
        return None
    epoch = length.epochs if numbered is None else int(numbered[1])
    step = min(epoch * length.steps_per_epoch, length.steps)
    return ResumePoint(path=path, epoch=epoch, step=step, kind="weights")


def nothing_to_resume(name: str, *, backend: str, weights: bool) -> FluxgymError:
    """The error of a run that left nothing to go on from."""
    if weights:
        hint = "Start it again: `fluxgym-tui train` with its run/spec.yaml."
    elif backend == "kohya":
        hint = "States are saved with flags.save_state: true. `resume --weights` goes on from its newest LoRA."
    else:
        hint = "States are saved with flags.save_state: true. Start it again with that."
    return FluxgymError(
        f"{name} left no {'LoRA' if weights else 'whole state'} to go on from", hint=hint, code=ExitCode.NOT_FOUND
    )
