"""`export LORA|RUN --to diffusers`: a LoRA under the names that diffusers and PEFT use."""

import argparse
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.lora_export import export_diffusers
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.checkpoints import RunFiles
from fluxgym_tui.runs.listing import find_run


def export(source: str, destination: Path | None, args: argparse.Namespace, out: Output) -> ExitCode:
    """Write the LoRA that `source` is or has made; without `destination` as `NAME-diffusers.safetensors` here."""
    lora = _lora(source, args)
    path = Path.cwd() if destination is None else destination.expanduser()
    if path.is_dir():
        path /= f"{lora.stem}-diffusers.safetensors"
    if path.exists() and path.samefile(lora):
        raise FluxgymError(f"{path} is the LoRA itself.", hint="Name another file to write.")
    if path.exists() and not args.force:
        raise FluxgymError(f"{path} is there already.", hint="Name another file, or add --force to replace it.")
    try:
        done = export_diffusers(lora, path)
    except OSError as error:
        raise FluxgymError(
            f"{path} cannot be written: {error.strerror}",
            hint="Name a file in a folder of yours on a disk with room.",
            code=ExitCode.FAILED,
        ) from error
    if args.json:
        out.json(
            {"source": str(lora), "path": str(done.path), "layers": done.layers, "rank": done.rank, "dtype": done.dtype}
        )
    else:
        out.line(f"{done.path}: {done.layers} layers of rank {done.rank}, {done.dtype}")
    return ExitCode.OK


def _lora(source: str, args: argparse.Namespace) -> Path:
    """The file `source`, or the LoRA of the run of that name: --checkpoint's, else the one picked, else its last."""
    path = Path(source).expanduser()
    if path.is_file():
        if args.checkpoint is not None:
            raise FluxgymError(f"--checkpoint has no meaning for a file, {path}", hint="Name a run, or leave it out.")
        return path
    return RunFiles(find_run(workspace_of(args).root / "outputs", source)).choose(args.checkpoint).path
