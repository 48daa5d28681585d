"""`export SPEC --to kohya-gui|toml FILE`: a spec as the settings of another program."""

import argparse
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.checks.preflight import resolve
from fluxgym_tui.checks.spec_plan import stage_sources
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.findings import finding_lines
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig
from fluxgym_tui.config.exporters import Exported, Training, export_kohya_gui, export_sd_toml
from fluxgym_tui.config.exporters.common import warning
from fluxgym_tui.config.importers import import_spec
from fluxgym_tui.config.models import expected_files
from fluxgym_tui.config.presets import wants_small_t5
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import load_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.plan.from_spec import bucket_settings
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.listing import find_run

_ENDINGS = {"kohya-gui": ".json", "toml": ".toml"}


def export(source: str, destination: Path | None, args: argparse.Namespace, out: Output) -> ExitCode:
    """Write the files, and tell what they do not say."""
    ending = _ENDINGS[args.to]
    if destination is None:
        raise FluxgymError(f"--to {args.to} needs the file to write", hint=f"As in: --to {args.to} hrld{ending}")
    if destination.suffix.lower() != ending:
        raise FluxgymError(f"{destination} does not end in {ending}", hint="The other program goes by that.")
    workspace = workspace_of(args)
    spec, before = _spec(source, workspace)
    made = exported(spec, destination, to=args.to, workspace=workspace)
    made = Exported(files=made.files, notes=(*before, *made.notes))
    taken = [str(path) for path, text in made.files.items() if _differs(path, text)]
    if taken and not args.force:
        raise FluxgymError(f"{', '.join(taken)} there already", hint="Choose another name, or add --force to replace.")
    for path, text in reversed(tuple(made.files.items())):  # the settings last: what they name is there then
        try:
            write_atomic(path, text)
        except OSError as error:
            raise FluxgymError(f"cannot write {path}: {error.strerror}", hint="Check the folder.") from error
    if args.json:
        out.json({"files": [str(path) for path in made.files], "notes": [note.to_json() for note in made.notes]})
        return ExitCode.OK
    differs = any(note.severity is Severity.WARNING for note in made.notes)
    head = "not all of it could be carried over" if differs else "all of it is carried over"
    diagnostics.narrate(head, *finding_lines(made.notes))
    out.lines(f"wrote {path}" for path in made.files)
    return ExitCode.OK


def exported(spec: TrainSpec, path: Path, *, to: str, workspace: Workspace) -> Exported:
    """`spec` as the settings `to` (kohya-gui or toml) for `path`. Writes nothing.

    Raises:
        FluxgymError: the base model is unknown, or something cannot be said there at all.
    """
    resolved, _, model = resolve(spec, workspace=workspace)
    vram = resolved.training.vram
    files = expected_files(model, workspace=workspace.root, small_t5=wants_small_t5(vram, backend="kohya"))
    training = Training(
        spec=spec,
        flags=effective_flags(resolved, backend="kohya", vram=vram, model=model),
        models=files,
        dataset=_dataset(spec),
        output_dir=workspace.root / "outputs" / spec.output_name,
    )
    made = (export_kohya_gui if to == "kohya-gui" else export_sd_toml)(training, path)
    if spec.training.vram != "auto" or vram != "cpu":
        return made
    note = warning(
        "vram", "this machine has no GPU, so the recipe is cpu", "Set training.vram to the card that trains."
    )
    return Exported(files=made.files, notes=(note, *made.notes))


def _differs(path: Path, text: str) -> bool:
    """Whether there is a file at `path` that says something else."""
    try:
        return path.read_bytes() != text.encode("utf-8")
    except OSError:
        return path.exists()


def _spec(source: str, workspace: Workspace) -> tuple[TrainSpec, tuple[Finding, ...]]:
    """The spec in the file `source`, or that of a run; one of fluxgym's is imported, with the notes on that."""
    path = Path(source)
    if path.is_file():
        return load_spec(path), ()
    run = find_run(workspace.root / "outputs", source)
    if not is_adopted(run):
        return load_spec(run.spec), ()
    found = import_spec(run.output_dir, workspace=workspace.root)
    return found.spec, found.notes


def _dataset(spec: TrainSpec) -> DatasetConfig:
    """The user's own folders, with what the plan makes of the settings."""
    dataset = spec.dataset
    settings, _ = bucket_settings(
        dataset.resolution,
        enable_bucket=dataset.enable_bucket,
        min_bucket_reso=dataset.min_bucket_reso,
        max_bucket_reso=dataset.max_bucket_reso,
        bucket_reso_steps=dataset.bucket_reso_steps,
        bucket_no_upscale=dataset.bucket_no_upscale,
    )
    return DatasetConfig(
        resolution=settings.resolution,
        batch_size=dataset.batch_size,
        enable_bucket=settings.enable_bucket,
        min_bucket_reso=settings.min_bucket_reso,
        max_bucket_reso=settings.max_bucket_reso,
        bucket_reso_steps=settings.bucket_reso_steps,
        bucket_no_upscale=settings.bucket_no_upscale,
        subsets=tuple(
            SubsetConfig(
                image_dir=source.folder,
                num_repeats=source.num_repeats,
                class_tokens=source.trigger,
                is_reg=source.is_reg,
                caption_extension=".txt",
                keep_tokens=int(spec.flags.get("keep_tokens", 1)),  # type: ignore[arg-type]  # a whole number
                shuffle_caption=spec.flags.get("shuffle_caption") is True,
            )
            for source in stage_sources(spec)
        ),
    )
