"""`command SPEC|DIR`: the trainer's command, without starting it."""

import argparse
import shlex

from fluxgym_tui.backends.base import TrainCommand, TrainJob
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.checks.preflight import Preflight, preflight
from fluxgym_tui.checks.spec_plan import error_summary
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.specs import add_spec_source, spec_of
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.workspace import Workspace


def configure(parser: CommandParser) -> None:
    """Set the options of `command`."""
    parser.show(
        description="Print the command that `train` would start the trainer with, in sd-scripts' own flags. Nothing\n"
        "is started and nothing written: the files it names are made when the run is.",
        example="fluxgym-tui command hrld.yaml",
    )
    add_spec_source(parser)
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the command."""
    workspace = workspace_of(args)
    ready = preflight(spec_of(args), workspace=workspace)
    command = _command(ready, workspace)
    if args.json:
        out.json({"argv": list(command.argv), "env": command.env, "cwd": str(command.cwd)})
        return ExitCode.OK
    out.lines(shell_lines(command))
    if ready.errors:
        diagnostics.narrate(f"train would not start it now:\n{error_summary(ready.errors)}")
    return ExitCode.OK


def _command(ready: Preflight, workspace: Workspace) -> TrainCommand:
    """The command of a first run of that name."""
    if ready.files is None:
        raise FluxgymError(
            error_summary(ready.errors), hint="The command names the model's files.", code=ExitCode.FINDINGS
        )
    folder = workspace.root / "outputs" / ready.spec.output_name
    return ready.backend.command(
        TrainJob(
            output_dir=folder,
            output_name=ready.spec.output_name,
            dataset_config=folder / "dataset.toml",
            models=ready.files,
            sample_prompts=folder / "sample_prompts.txt" if ready.spec.samples.prompts else None,
            flags=ready.flags,
            extra_args=ready.spec.extra_args,
        )
    )


def shell_lines(command: TrainCommand) -> list[str]:
    """The command for a shell, one flag a line."""
    groups: list[list[str]] = [[f"{name}={shlex.quote(value)}" for name, value in command.env.items()]]
    for word in command.argv:
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(shlex.quote(word))
    lines = [" ".join(group) for group in groups if group]
    first, *rest = lines
    indented = [first, *(f"  {line}" for line in rest)]
    return [f"cd {shlex.quote(str(command.cwd))} &&", *(f"{line} \\" for line in indented[:-1]), indented[-1]]
