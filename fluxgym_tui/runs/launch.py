"""From a spec to a running training: check it, write the run's files, start its supervisor."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from fluxgym_tui.backends.base import TrainCommand, TrainJob
from fluxgym_tui.backends.script import script_text
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_atomic, write_json
from fluxgym_tui.base.text import count
from fluxgym_tui.checks.by_hand import trainer_command
from fluxgym_tui.checks.preflight import Preflight, job_named, preflight
from fluxgym_tui.checks.run_files import dataset_config, prepare_command, run_files, run_places
from fluxgym_tui.checks.spec_plan import error_summary
from fluxgym_tui.config.by_hand import TRAIN_SH, HandEdits, RunPlaces, keep_edit
from fluxgym_tui.config.dataset_toml import dump_dataset_toml
from fluxgym_tui.config.settings_flags import resolve_spec
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import dump_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.dataset.encoders import Encoders
from fluxgym_tui.hub.library import HubError
from fluxgym_tui.hub.needs import check_all_access, fetch_words
from fluxgym_tui.hub.publish import writer
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.directory import RunDirectory, create, next_name
from fluxgym_tui.runs.fetch import write_wanted
from fluxgym_tui.runs.interrupts import hold_interrupts
from fluxgym_tui.runs.prepare import StagingJob, write_job
from fluxgym_tui.runs.readme import write_readme
from fluxgym_tui.runs.remove import discard
from fluxgym_tui.runs.start import start

Narrator = Callable[[str], None]


def launch(
    spec: TrainSpec,
    *,
    workspace: Workspace,
    narrate: Narrator | None = None,
    sd_scripts: Path | None = None,
    by_hand: HandEdits | None = None,
    started: Callable[[RunDirectory], None] | None = None,
) -> RunDirectory:
    """Check `spec`, make its run under `workspace`, and start it detached; `narrate` gets lines for people.

    `sd_scripts` is the checkout to use with backend kohya; else it is looked for. `by_hand` are the spec's files that
    were edited by hand: the run has them in place of what the spec says. `started` gets the run as soon as it
    goes on without us; only then may a KeyboardInterrupt leave it behind.

    Raises:
        FluxgymError: something stops the training, a model may not be read, or the run cannot be made or started. No
            run is there then.
        KeyboardInterrupt: Ctrl+C; where `started` was not called, no run is there.
    """
    tell = narrate or (lambda _: None)
    ready = preflight(spec, workspace=workspace, sd_scripts=sd_scripts, by_hand=by_hand)
    if ready.errors:
        missing = any(finding.code == "backend_missing" for finding in ready.errors)
        raise FluxgymError(
            error_summary(ready.errors),
            hint=None if missing else "Nothing was started.",
            code=ExitCode.MISSING_EXTRA if missing else ExitCode.FINDINGS,
        )
    if ready.spec.after.publish:
        _need_writer(tell)
    if ready.model.note is not None:
        tell(f"{ready.model.key}: {ready.model.note}")
    if ready.to_fetch:
        tell(fetch_words(ready.model_state, ready.to_fetch))
        check_all_access(ready.to_fetch)
    steps = ready.plan.plan.steps
    tell(f"{count(ready.plan.pictures, 'picture')}, {steps.formula}")
    with hold_interrupts() as held:
        run = create(workspace.outputs, ready.spec.output_name)
        try:
            write_run(run, ready, workspace=workspace)
            held.give_way()
            start(run)
        except BaseException:
            discard(run)  # a run that was never started would be queued for ever, and keep the name
            raise
        if started is not None:
            started(run)
    return run


def write_run(run: RunDirectory, ready: Preflight, *, workspace: Workspace) -> None:
    """Write all that `run` needs to train and people to understand it; starts nothing.

    Raises:
        FluxgymError: a file cannot be written, or the backend does not take the flags.
    """
    spec = ready.spec
    places = run_places(run.name, sources=ready.plan.sources, workspace=workspace)
    target = places.staged
    try:
        train = _write_train_files(run, ready, places)
        write_job(
            run,
            StagingJob(
                sources=ready.plan.sources,
                target=target,
                resize=spec.dataset.resize,
                downscale_only=spec.dataset.downscale_only,
                planned=ready.plan.pictures,
                keep_alpha=ready.plan.keep_alpha,
                encoders=_encoders(ready),
            ),
        )
        prepare = ChildCommand(
            phase="prepare",
            argv=prepare_command(run.output_dir),
            cwd=run.output_dir,
        )
        trainer = ChildCommand(
            phase="train", argv=train.argv, cwd=train.cwd, env=train.env, log_format=train.log_format
        )
        children = (
            *_fetch_children(run, ready),
            prepare,
            trainer,
            *after_children(run, publish=spec.after.publish),
        )
        write_script(run, list(children))
        _write_hand_edits(run, ready, places)
        write_json(run.manifest, {**read_json(run.manifest), **_facts(ready, target)})
        write_readme(run)
        write_plan(run, CommandPlan(children=children, lora=f"{run.name}.safetensors"))
    except OSError as error:
        raise FluxgymError(
            f"cannot write the run's files in {run.output_dir}: {error.strerror}",
            hint="Check that the disk has room and the folder is yours.",
        ) from error


def _encoders(ready: Preflight) -> Encoders | None:
    """What sd-scripts' caches depend on; the built-in trainer looks for itself."""
    if ready.backend.name != "kohya":
        return None
    files, length = ready.model_state.expected, ready.flags.get("t5xxl_max_token_length")
    # Where no length is said, it goes by the transformer: schnell has another.
    settings = f"tokens {length}" if length else f"tokens as of {files.transformer}"
    text = tuple(path for path in (files.clip_l, files.t5xxl) if path is not None)
    return Encoders(latents=(files.ae,), text=text, settings=settings)


def _fetch_children(run: RunDirectory, ready: Preflight) -> tuple[ChildCommand, ...]:
    """What comes before all else where files of the base model are missing."""
    if not ready.to_fetch:
        return ()
    write_wanted(run, ready.to_fetch)
    argv = (sys.executable, "-P", "-m", "fluxgym_tui.runs.fetch", str(run.output_dir))
    return (ChildCommand(phase="download", argv=argv, cwd=run.output_dir),)


def after_children(run: RunDirectory, *, publish: bool) -> tuple[ChildCommand, ...]:
    """What follows the training of `run`. It fails for itself: the training has succeeded all the same."""
    if not publish:
        return ()
    argv = (sys.executable, "-P", "-m", "fluxgym_tui.runs.publishing", str(run.output_dir))
    return (ChildCommand(phase="publish", argv=argv, cwd=run.output_dir),)


def _need_writer(tell: Narrator) -> None:
    """Ask now whether what the spec wants published can be: after hours of training is too late.

    Raises:
        HubError: it cannot. Where nobody answers, that is told and the training starts.
    """
    try:
        writer()
    except HubError as error:
        if error.reason not in ("unreachable", "busy", "server"):
            raise
        tell(f"warning: whether this run can be published is not known: {error.message}")


def preview_files(ready: Preflight, *, workspace: Workspace) -> tuple[dict[str, str], RunPlaces]:
    """The texts of `train.sh` and `dataset.toml` of the next run as the parameters have them, and that run's places.

    Model files that are not here yet are named by where they belong. Writes nothing.
    """
    job = next_job(ready, workspace=workspace)
    places = run_places(job.output_name, sources=ready.plan.sources, workspace=workspace)
    return run_files(job, spec=ready.spec, plan=ready.plan, backend=ready.backend, staged=places.staged), places


def next_command(ready: Preflight, *, workspace: Workspace) -> TrainCommand:
    """The command that `launch` would start the trainer with now, whether or not all that it needs is here.

    Raises:
        FluxgymError: a train.sh edited by hand has none.
    """
    job = next_job(ready, workspace=workspace)
    command = ready.backend.would_run(job)
    if ready.hand is None or ready.hand.edits.train_sh is None:
        return command
    return _command_by_hand(
        ready, command, run_places(job.output_name, sources=ready.plan.sources, workspace=workspace)
    )


def next_job(ready: Preflight, *, workspace: Workspace) -> TrainJob:
    """The training of the spec as the backend would get it from `launch` now: under the next free name.

    Model files that are not here yet are named by where they belong.
    """
    name = next_name(workspace.root / "outputs", ready.spec.output_name)
    return job_named(name, ready.spec, flags=ready.flags, files=ready.model_state.expected, workspace=workspace)


def _write_train_files(run: RunDirectory, ready: Preflight, places: RunPlaces) -> TrainCommand:
    """spec.yaml, dataset.toml and sample_prompts.txt, and the command that trains from them."""
    spec = ready.spec
    resolved = resolve_spec(spec, backend=ready.backend.name, vram=spec.training.vram, model=ready.model)
    write_atomic(run.spec, dump_spec(resolved))
    config = run.output_dir / "dataset.toml"
    edits = HandEdits() if ready.hand is None else ready.hand.edits
    if edits.dataset_toml is not None:
        write_atomic(config, edits.dataset_toml.text_for(places, written_for=_written_for(ready, places)))
    else:
        write_atomic(config, dump_dataset_toml([dataset_config(spec, plan=ready.plan, staged=places.staged)]))
    prompts = run.output_dir / "sample_prompts.txt"
    write_atomic(prompts, "".join(f"{prompt}\n" for prompt in spec.samples.prompts))
    job = TrainJob(
        output_dir=run.output_dir,
        output_name=run.name,
        dataset_config=config,
        models=ready.files or ready.model_state.expected,
        sample_prompts=prompts if spec.samples.prompts else None,
        flags=ready.flags,
        extra_args=spec.extra_args,
    )
    if edits.train_sh is not None:
        return _command_by_hand(ready, ready.backend.would_run(job), places)
    return ready.backend.command(job)


def _command_by_hand(ready: Preflight, usual: TrainCommand, places: RunPlaces) -> TrainCommand:
    """The command of the edited train.sh, where `usual` is the one that the parameters have."""
    assert ready.hand is not None
    assert ready.hand.edits.train_sh is not None
    found = trainer_command(
        ready.hand.edits.train_sh, backend=ready.backend, places=places, written_for=_written_for(ready, places)
    )
    return TrainCommand(argv=found.argv, env=dict(found.env), cwd=found.cwd or usual.cwd, log_format=usual.log_format)


def _written_for(ready: Preflight, places: RunPlaces) -> RunPlaces:
    """What an edited file names that does not say it: the places of a run with the spec's own name."""
    name = ready.spec.output_name
    return RunPlaces(
        output_name=name, output_dir=places.output_dir.with_name(name), staged=places.staged.with_name(name)
    )


def _write_hand_edits(run: RunDirectory, ready: Preflight, places: RunPlaces) -> None:
    """The edited files as they were taken: train.sh for people, and both beside run/spec.yaml for another such run."""
    for edit in () if ready.hand is None else ready.hand.edits:
        text = edit.text_for(places, written_for=_written_for(ready, places))
        keep_edit(run.spec, edit.name, text, made_from=None, places=places)
        if edit.name == TRAIN_SH:
            write_atomic(run.output_dir / TRAIN_SH, text, mode=0o755 & ~_umask())


def write_script(run: RunDirectory, children: list[ChildCommand]) -> None:
    """train.sh: how to train by hand, from any folder; neither downloading nor publishing is part of it."""
    steps = [child for child in children if child.phase not in ("download", "publish")]
    text = script_text((child.argv, child.env, child.cwd) for child in steps)
    write_atomic(run.output_dir / "train.sh", text, mode=0o755 & ~_umask())


def _facts(ready: Preflight, target: Path) -> dict[str, object]:
    """What the manifest keeps: which model, which pictures, what was planned and found."""
    plan = ready.plan.plan
    files = ready.files or ready.model_state.expected
    paths = {role: getattr(files, role) for role in ready.model.roles}
    return {
        "title": ready.spec.name,
        "trigger": ready.spec.trigger,
        "backend": ready.backend.name,
        "backend_version": ready.backend.version(),
        "base_model": ready.model.key,
        "model_files": {role: _file_facts(path) for role, path in paths.items()},
        "staged": str(target),
        "pictures": ready.plan.pictures,
        "total_steps": plan.steps.total,
        "epochs": plan.steps.epochs,
        "steps_per_epoch": plan.steps.steps_per_epoch,
        "settings": {
            name: list(value) if isinstance(value, tuple) else value for name, value in ready.trained_flags.items()
        },
        "by_hand": [] if ready.hand is None else [edit.name for edit in ready.hand.edits],
        "findings": [finding.to_json() for finding in ready.findings],
    }


def _file_facts(path: Path) -> dict[str, object]:
    """A model file as it is now; size and time are null where it is still to be fetched."""
    stat = path.stat() if path.is_file() else None
    return {
        "path": str(path),
        "bytes": None if stat is None else stat.st_size,
        "mtime_ns": None if stat is None else stat.st_mtime_ns,
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
