"""The files of a run as its spec makes them: dataset.toml, and train.sh with the trainer's command."""

import sys
from collections.abc import Sequence
from pathlib import Path

from fluxgym_tui.backends.base import Backend, TrainJob
from fluxgym_tui.backends.script import script_text
from fluxgym_tui.checks.spec_plan import SpecPlan
from fluxgym_tui.config.by_hand import DATASET_TOML, TRAIN_SH, RunPlaces
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig, dump_dataset_toml
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.dataset.staged_names import folder_names
from fluxgym_tui.dataset.staging import StageSource, staging_folder

PREPARE = "fluxgym_tui.runs.prepare"


def run_places(name: str, *, sources: Sequence[StageSource], workspace: Workspace) -> RunPlaces:
    """Where a run of that name has its folder and its staged pictures. FluxgymError as `staging_folder`."""
    folders = [source.folder for source in sources]
    return RunPlaces(
        output_name=name,
        output_dir=workspace.root / "outputs" / name,
        staged=staging_folder(workspace.root / "datasets", name, sources=folders),
    )


def run_files(job: TrainJob, *, spec: TrainSpec, plan: SpecPlan, backend: Backend, staged: Path) -> dict[str, str]:
    """The texts of train.sh and dataset.toml of `job`. Writes nothing."""
    train = backend.would_run(job)
    commands = [(prepare_command(job.output_dir), {}, job.output_dir), (train.argv, train.env, train.cwd)]
    return {
        TRAIN_SH: script_text(commands),
        DATASET_TOML: dump_dataset_toml([dataset_config(spec, plan=plan, staged=staged)]),
    }


def prepare_command(output_dir: Path) -> tuple[str, ...]:
    """The command that stages the pictures of the run in `output_dir`."""
    return (sys.executable, "-P", "-m", PREPARE, str(output_dir))


def image_dirs(sources: Sequence[StageSource], *, staged: Path) -> list[Path]:
    """The folder that each of `sources` is staged in."""
    names = folder_names([source.folder for source in sources])
    return [staged / name if name else staged for name in names]


def dataset_config(spec: TrainSpec, *, plan: SpecPlan, staged: Path) -> DatasetConfig:
    """The staged dataset as dataset.toml says it: fluxgym's keys, the plan's settings."""
    settings = plan.settings
    return DatasetConfig(
        resolution=settings.resolution,
        batch_size=spec.dataset.batch_size,
        enable_bucket=settings.enable_bucket,
        min_bucket_reso=settings.min_bucket_reso,
        max_bucket_reso=settings.max_bucket_reso,
        bucket_reso_steps=settings.bucket_reso_steps,
        bucket_no_upscale=settings.bucket_no_upscale,
        subsets=tuple(
            SubsetConfig(
                image_dir=folder,
                num_repeats=source.num_repeats,
                class_tokens=source.trigger,
                is_reg=source.is_reg,
                caption_extension=".txt",
                keep_tokens=int(spec.flags.get("keep_tokens", 1)),  # type: ignore[arg-type]  # a whole number
                shuffle_caption=spec.flags.get("shuffle_caption") is True,
            )
            for source, folder in zip(plan.sources, image_dirs(plan.sources, staged=staged), strict=True)
        ),
    )
