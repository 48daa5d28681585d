"""The whole state of a training on disk, from which it goes on as if it had never stopped.

A folder with `state.safetensors` (weights, optimiser, random generator) and `train_state.json` (all that is no tensor).
"""

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, sync_folder, write_atomic
from fluxgym_tui.trainer.leftovers import REPLACED, UNFINISHED

TENSORS = "state.safetensors"
FACTS = "train_state.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """A training after optimiser step `step` of epoch `epoch`.

    `losses` are the newest ones, as many as the running mean looks back on. The order of pictures follows from `seed`
    and the step; `tensors` and `numbers` are the learner's (`Learner.capture`).
    """

    step: int
    epoch: int
    seed: int
    batches_per_epoch: int
    losses: tuple[float, ...]
    numbers: dict[str, Any]
    tensors: dict[str, Tensor]


def write_state(folder: Path, state: TrainState) -> None:
    """Write `state` as `folder`, whole or not at all; one of the same name is replaced.

    FluxgymError where it cannot be written.
    """
    facts = {
        "schema": SCHEMA,
        "current_epoch": state.epoch,  # these two as in sd-scripts' file of this name
        "current_step": state.step,
        "seed": state.seed,
        "batches_per_epoch": state.batches_per_epoch,
        "losses": list(state.losses),
        "numbers": state.numbers,
    }
    unfinished = folder.with_name(f".{folder.name}{UNFINISHED}")
    replaced = folder.with_name(f".{folder.name}{REPLACED}")
    try:
        for leftover in (unfinished, replaced):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished.mkdir(parents=True)
        # Copied: bitsandbytes has tables that many weights share, and safetensors takes each tensor for itself.
        tensors = {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in state.tensors.items()}
        write_atomic(unfinished / TENSORS, save(tensors), durable=True)
        write_atomic(unfinished / FACTS, json.dumps(facts, indent=1) + "\n", durable=True)
        if folder.exists():
            folder.rename(replaced)
        unfinished.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(unfinished)
        raise FluxgymError(
            f"{folder}: the state cannot be written: {error.strerror}",
            hint="Make room or make the folder writable.",
            code=ExitCode.FAILED,
        ) from error


def read_state(folder: Path) -> TrainState:
    """The state that `write_state` wrote. FluxgymError where there is none, or none of ours, or a broken one."""
    if not (folder / TENSORS).is_file() and (folder / "model.safetensors").is_file():
        raise FluxgymError(
            f"{folder} is a state of sd-scripts, which the built-in trainer cannot go on from.",
            hint="Resume it with the kohya backend, or go on from its LoRA with --network_weights.",
        )
    try:
        facts = read_json(folder / FACTS)
        if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
            raise FluxgymError(f"{folder} was written by another version.", hint="Resume it with that version.")
        return TrainState(
            step=int(facts["current_step"]),
            epoch=int(facts["current_epoch"]),
            seed=int(facts["seed"]),
            batches_per_epoch=int(facts["batches_per_epoch"]),
            losses=tuple(float(loss) for loss in facts["losses"]),
            numbers=dict(facts["numbers"]),
            tensors=load_file(folder / TENSORS),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise FluxgymError(
            f"{folder}: no state of a training can be read there: {error}",
            hint="Give the folder of an earlier state (NAME-000002-state), or start anew.",
        ) from error


def split_optimizer(state: dict[Any, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's `state_dict()["state"]` as tensors and plain values, both by `INDEX.NAME`.

    bitsandbytes packs some of it once more: `INDEX.PACK.NAME`.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, dict):
            inner_tensors, inner_numbers = split_optimizer(value)
            tensors |= {f"{name}.{inner}": tensor for inner, tensor in inner_tensors.items()}
            numbers |= {f"{name}.{inner}": number for inner, number in inner_numbers.items()}
        else:
            (tensors if isinstance(value, Tensor) else numbers)[str(name)] = value
    return tensors, numbers


def join_optimizer(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """What `split_optimizer` took apart."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**numbers, **tensors}.items():
        index, *packs, name = key.split(".")
        place = state.setdefault(int(index), {})
        for pack in packs:
            place = place.setdefault(pack, {})
        place[name] = value
    return state
