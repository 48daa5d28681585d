"""The targets comfyui, a1111 and a folder: a run's LoRA with a preview picture, where those programs look for it."""

import argparse
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli.diagnostics import narrate
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.local_export import export_to_folder, export_to_program


def export(source: str, destination: Path | None, args: argparse.Namespace, out: Output) -> ExitCode:
    """Copy the LoRA of the run `source`."""
    if destination is not None:
        raise FluxgymError(
            f"--to {args.to} takes no file: {destination} has no meaning here", hint="--to DIR names a folder."
        )
    root = workspace_of(args).root
    run = find_run(root / "outputs", source)
    if args.to in ("comfyui", "a1111"):
        done = export_to_program(run, args.to, workspace=root, checkpoint=args.checkpoint, replace=args.force)
    else:
        folder = Path(args.to).expanduser()
        done = export_to_folder(run, folder, checkpoint=args.checkpoint, replace=args.force)
    if args.json:
        out.json(
            {
                "run": str(run.output_dir),
                "lora": str(done.lora),
                "preview": None if done.preview is None else str(done.preview),
            }
        )
    else:
        out.line(str(done.lora))
        if done.preview is not None:
            out.line(str(done.preview))
    if done.preview is None:
        narrate("no preview picture: no sample was drawn for this file")
    for folder in done.other_folders:
        narrate(f"not copied to {folder}: with --to {folder} it is")
    return ExitCode.OK
