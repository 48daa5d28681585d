"""Runs of another program, fluxgym's above all: read from the files they left, and never written into."""

import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import CheckpointEvent, EndEvent, RunEvent, SampleEvent, StepEvent
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.machine.other_trainers import training_into
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.state import RunState, RunSummary

# What fluxgym writes before it starts sd-scripts; any one of them, or a LoRA, makes a folder a run.
_WRITTEN_FIRST = ("train.sh", "train.bat", "dataset.toml")
_SAVED_ON_THE_WAY = re.compile(r"-(?:\d{6}|step\d{8})")


def is_adopted(run: RunDirectory) -> bool:
    """Whether `run` is another program's: no run of ours was made in its folder, and something of a training is there.

    A note of ours, on which LoRA was picked, makes it no run of ours.
    """
    ours = (run.manifest, run.command, run.events)
    return not any(path.exists() for path in ours) and _looks_trained(run.output_dir)


def refuse_adopted(run: RunDirectory) -> None:
    """Refuse what only a run of ours can do.

    Raises:
        FluxgymError: `run` is another program's.
    """
    if is_adopted(run):
        raise FluxgymError(
            f"{run.name} was trained by another program, which alone can go on with it",
            hint=f"fluxgym-tui import {shlex.quote(str(run.output_dir))} -o spec.yaml   makes a spec of it.",
        )


def _looks_trained(folder: Path) -> bool:
    try:
        return any((folder / name).is_file() for name in _WRITTEN_FIRST) or any(folder.glob("*.safetensors"))
    except OSError:
        return False


def adopted_version(run: RunDirectory) -> tuple[int, ...]:
    """What changes when anything happens in the folder of an adopted run."""
    facts: list[int] = []
    for path in (run.output_dir, *(run.output_dir / name for name in _WRITTEN_FIRST), _final(run)):
        try:
            found = path.stat()
        except OSError:
            continue
        facts += [found.st_size, found.st_mtime_ns]
    return tuple(facts)


def adopted_state(run: RunDirectory) -> RunSummary:
    """How an adopted run stands: running while its trainer does, finished where its last LoRA opens, else interrupted.

    Steps, epochs and times are those in the headers of its LoRA files; what no file tells is None.
    """
    trainer = training_into(run.output_dir)
    final, saved = _final(run), _saved(run)
    problem, header = _opened(final)
    newest: Path | None = final
    if problem is not None:
        newest = saved[-1] if saved else None
        header = {} if newest is None else _opened(newest)[1]
    state = RunState.RUNNING if trainer else RunState.FINISHED if problem is None else RunState.INTERRUPTED
    reason = "trained by another program" if state is not RunState.INTERRUPTED else f"of another program: {problem}"
    begun = _number(header, "ss_training_started_at") or _changed(run.output_dir, *_WRITTEN_FIRST)
    ended = _number(header, "ss_training_finished_at") or (None if newest is None else _changed(newest))
    return RunSummary(
        name=run.name,
        path=run.output_dir.absolute(),
        state=state,
        step=_whole(header, "ss_steps") or 0,
        total=_whole(header, "ss_max_train_steps"),
        epoch=_whole(header, "ss_epoch"),
        epochs=_whole(header, "ss_num_epochs"),
        created=begun or ended,
        started=begun,
        updated=ended or begun,
        ended=(ended or begun) if state.ended else None,
        outcome=state.value if state.ended else None,
        reason=reason,
        lora=final if problem is None else None,
        checkpoint=None if newest is None else str(newest),
        journaled=state.ended,
        trainer_pid=trainer,
    )


def adopted_events(run: RunDirectory) -> list[RunEvent]:
    """The events that the files of an adopted run tell of: its LoRA files, its samples and, where it is over, its end.

    In the order of the files' times. Of the steps the last one that was saved is told, without a loss: no file has it.
    """
    summary = adopted_state(run)
    events: list[RunEvent] = []
    for path in (*_saved(run), _final(run)):
        problem, header = _opened(path)
        if problem is not None:
            continue
        step, epoch = _whole(header, "ss_steps"), _whole(header, "ss_epoch")
        events.append(CheckpointEvent(time=_changed(path) or 0.0, path=str(path), step=step, epoch=epoch))
    events += _samples(run)
    events.sort(key=lambda event: event.time)
    if summary.step:
        at = summary.updated or time.time()
        events.append(StepEvent(time=at, step=summary.step, total=summary.total, epoch=summary.epoch))
    if summary.state.ended:
        events.append(
            EndEvent(
                time=summary.ended or summary.updated or time.time(),
                outcome="finished" if summary.state is RunState.FINISHED else "interrupted",
                reason=summary.reason,
            )
        )
    return events


def adopted_facts(run: RunDirectory, *, workspace: Path | None = None) -> dict[str, Any]:
    """What a manifest would say of an adopted run: title, trigger and base_model, as far as its train.sh tells them."""
    # Imported here: a spec brings pydantic, and lists of runs do without.
    from fluxgym_tui.config.importers import import_spec

    try:
        spec = import_spec(run.output_dir, workspace=workspace).spec
    except FluxgymError:
        return {}
    return {"title": spec.name, "trigger": spec.trigger, "base_model": spec.base_model}


def _samples(run: RunDirectory) -> list[SampleEvent]:
    # Imported here: it brings the backend, and lists of runs do without.
    from fluxgym_tui.backends.kohya.samples import is_whole, sample_event

    try:
        pictures = [(path, path.stat().st_mtime) for path in run.samples.glob("*.png")]
    except OSError:
        return []
    found = (sample_event(path, time=changed) for path, changed in pictures if is_whole(path))
    return [event for event in found if event is not None]


def _final(run: RunDirectory) -> Path:
    """The LoRA of the end: named as the folder, else the one file that is not of a save on the way."""
    own = run.output_dir / f"{run.name}.safetensors"
    if own.is_file():
        return own
    others = [path for path in _loras(run) if not _SAVED_ON_THE_WAY.search(path.stem)]
    return others[0] if len(others) == 1 else own


def _saved(run: RunDirectory) -> list[Path]:
    """The LoRA files of saves on the way, the oldest first."""
    found = [path for path in _loras(run) if _SAVED_ON_THE_WAY.search(path.stem)]
    return sorted(found, key=lambda path: (_changed(path) or 0.0, path.name))


def _loras(run: RunDirectory) -> list[Path]:
    try:
        return sorted(path for path in run.output_dir.glob("*.safetensors") if path.is_file())
    except OSError:
        return []


def _opened(path: Path) -> tuple[str | None, Mapping[str, str]]:
    """Why the LoRA at `path` does not open, or None; and what its header says."""
    if not path.is_file():
        return f"there is no {path.name}, so it did not come to its end", {}
    try:
        header = read_header(path)
    except FluxgymError as error:
        return error.message, {}
    return (None if header.tensors else f"{path.name} holds no tensors"), header.metadata


def _number(header: Mapping[str, str], key: str) -> float | None:
    try:
        return float(header[key])
    except (KeyError, ValueError):
        return None


def _whole(header: Mapping[str, str], key: str) -> int | None:
    number: Any = _number(header, key)
    return None if number is None else int(number)


def _changed(path: Path, *names: str) -> float | None:
    """When the file at `path`, or the first of `names` in that folder, was last written; seconds since 1970."""
    for candidate in [path / name for name in names] or [path]:
        try:
            return candidate.stat().st_mtime
        except OSError:
            continue
    return None
