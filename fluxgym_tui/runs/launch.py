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
from fluxgym_tui.checks.preflight import Preflight, job_named, preflight
from fluxgym_tui.checks.spec_plan import error_summary
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig, dump_dataset_toml
from fluxgym_tui.config.models import expected_files
from fluxgym_tui.config.presets import wants_small_t5
from fluxgym_tui.config.settings_flags import resolve_spec
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import dump_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.dataset.staged_names import folder_names
from fluxgym_tui.dataset.staging import staging_folder
from fluxgym_tui.hub.library import HubError
from fluxgym_tui.hub.publish import writer
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.directory import RunDirectory, create, next_name
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
    started: Callable[[RunDirectory], None] | None = None,
) -> RunDirectory:
    """Check `spec`, make its run under `workspace`, and start it detached; `narrate` gets lines for people.

    `sd_scripts` is the checkout to use with backend kohya; else it is looked for. `started` gets the run as soon as it
    goes on without us; only then may a KeyboardInterrupt leave it behind.

    Raises:
        FluxgymError: something stops the training, or the run cannot be made or started. No run is there then.
        KeyboardInterrupt: Ctrl+C; where `started` was not called, no run is there.
    """
    tell = narrate or (lambda _: None)
    ready = preflight(spec, workspace=workspace, sd_scripts=sd_scripts)
    if ready.errors:
        missing = any(finding.code == "backend_missing" for finding in ready.errors)
        raise FluxgymError(
            error_summary(ready.errors),
            hint=None if missing else "Nothing was started.",
            code=ExitCode.MISSING_EXTRA if missing else ExitCode.FINDINGS,
        )
    if ready.spec.after.publish:
        _need_writer(tell)
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
    sources = [source.folder for source in ready.plan.sources]
    target = staging_folder(workspace.datasets, run.name, sources=sources)
    try:
        train = _write_train_files(run, ready, target)
        write_job(
            run,
            StagingJob(
                sources=ready.plan.sources,
                target=target,
                resize=spec.dataset.resize,
                downscale_only=spec.dataset.downscale_only,
                planned=ready.plan.pictures,
            ),
        )
        prepare = ChildCommand(
            phase="prepare",
            argv=(sys.executable, "-P", "-m", "fluxgym_tui.runs.prepare", str(run.output_dir)),
            cwd=run.output_dir,
        )
        trainer = ChildCommand(
            phase="train", argv=train.argv, cwd=train.cwd, env=train.env, log_format=train.log_format
        )
        children = (prepare, trainer, *after_children(run, publish=spec.after.publish))
        write_script(run, list(children))
        write_json(run.manifest, {**read_json(run.manifest), **_facts(ready, target)})
        write_readme(run)
        write_plan(run, CommandPlan(children=children, lora=f"{run.name}.safetensors"))
    except OSError as error:
        raise FluxgymError(
            f"cannot write the run's files in {run.output_dir}: {error.strerror}",
            hint="Check that the disk has room and the folder is yours.",
        ) from error


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


def preview_files(ready: Preflight, *, workspace: Workspace) -> dict[str, str]:
    """The texts of `train.sh` and `dataset.toml` of the next run, as `launch` would write them.

    Model files that are not here yet are named by where they belong. Writes nothing.
    """
    job = next_job(ready, workspace=workspace)
    train = ready.backend.would_run(job)
    prepare = (sys.executable, "-P", "-m", "fluxgym_tui.runs.prepare", str(job.output_dir))
    sources = [source.folder for source in ready.plan.sources]
    target = staging_folder(workspace.root / "datasets", job.output_name, sources=sources)
    return {
        "train.sh": script_text([(prepare, {}, job.output_dir), (train.argv, train.env, train.cwd)]),
        "dataset.toml": dump_dataset_toml([_dataset(ready, target)]),
    }


def next_job(ready: Preflight, *, workspace: Workspace) -> TrainJob:
    """The training as the backend would get it from `launch` now: under the next free name.

    Model files that are not here yet are named by where they belong.
    """
    small_t5 = wants_small_t5(ready.spec.training.vram, backend=ready.backend.name)
    files = ready.files or expected_files(ready.model, workspace=workspace.root, small_t5=small_t5)
    name = next_name(workspace.root / "outputs", ready.spec.output_name)
    return job_named(name, ready.spec, flags=ready.flags, files=files, workspace=workspace)


def _write_train_files(run: RunDirectory, ready: Preflight, target: Path) -> TrainCommand:
    """spec.yaml, dataset.toml and sample_prompts.txt, and the command that trains from them."""
    spec = ready.spec
    resolved = resolve_spec(spec, backend=ready.backend.name, vram=spec.training.vram, model=ready.model)
    write_atomic(run.spec, dump_spec(resolved))
    dataset_config = run.output_dir / "dataset.toml"
    write_atomic(dataset_config, dump_dataset_toml([_dataset(ready, target)]))
    prompts = run.output_dir / "sample_prompts.txt"
    write_atomic(prompts, "".join(f"{prompt}\n" for prompt in spec.samples.prompts))
    assert ready.files is not None  # without them preflight has errors
    return ready.backend.command(
        TrainJob(
            output_dir=run.output_dir,
            output_name=run.name,
            dataset_config=dataset_config,
            models=ready.files,
            sample_prompts=prompts if spec.samples.prompts else None,
            flags=ready.flags,
            extra_args=spec.extra_args,
        )
    )


def _dataset(ready: Preflight, target: Path) -> DatasetConfig:
    """The staged dataset as dataset.toml says it: fluxgym's keys, the plan's settings."""
    settings = ready.plan.settings
    folders = folder_names([source.folder for source in ready.plan.sources])
    return DatasetConfig(
        resolution=settings.resolution,
        batch_size=ready.spec.dataset.batch_size,
        enable_bucket=settings.enable_bucket,
        min_bucket_reso=settings.min_bucket_reso,
        max_bucket_reso=settings.max_bucket_reso,
        bucket_reso_steps=settings.bucket_reso_steps,
        bucket_no_upscale=settings.bucket_no_upscale,
        subsets=tuple(
            SubsetConfig(
                image_dir=target / folder if folder else target,
                num_repeats=source.num_repeats,
                class_tokens=source.trigger,
                is_reg=source.is_reg,
                caption_extension=".txt",
                keep_tokens=1,
            )
            for source, folder in zip(ready.plan.sources, folders, strict=True)
        ),
    )


def write_script(run: RunDirectory, children: list[ChildCommand]) -> None:
    """train.sh: how to train by hand, from any folder; publishing is not part of it."""
    text = script_text((child.argv, child.env, child.cwd) for child in children if child.phase != "publish")
    write_atomic(run.output_dir / "train.sh", text, mode=0o755 & ~_umask())


def _facts(ready: Preflight, target: Path) -> dict[str, object]:
    """What the manifest keeps: which model, which pictures, what was planned and found."""
    assert ready.files is not None
    plan = ready.plan.plan
    paths = {role: getattr(ready.files, role) for role in ready.model.roles}
    return {
        "title": ready.spec.name,
        "trigger": ready.spec.trigger,
        "backend": ready.backend.name,
        "backend_version": ready.backend.version(),
        "base_model": ready.model.key,
        "model_files": {
            role: {"path": str(path), "bytes": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
            for role, path in paths.items()
        },
        "staged": str(target),
        "pictures": ready.plan.pictures,
        "total_steps": plan.steps.total,
        "epochs": plan.steps.epochs,
        "steps_per_epoch": plan.steps.steps_per_epoch,
        "settings": {name: list(value) if isinstance(value, tuple) else value for name, value in ready.flags.items()},
        "findings": [finding.to_json() for finding in ready.findings],
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
