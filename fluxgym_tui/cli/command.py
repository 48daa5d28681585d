"""`command SPEC|DIR`: the trainer's command, without starting it."""

import argparse

from fluxgym_tui.backends.script import command_text
from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.checks.spec_plan import error_summary
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.specs import add_sd_scripts, add_spec_source, hand_edits_of, spec_of
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.launch import next_command


def configure(parser: CommandParser) -> None:
    """Set the options of `command`."""
    parser.show(
        description="Print the command that `train` would start the trainer with, in sd-scripts' own flags. Nothing\n"
        "is started and nothing written: the files it names are made when the run is. What is not here\n"
        "yet, models or sd-scripts, is named by where it belongs, and stderr says so.",
        example="fluxgym-tui command hrld.yaml\nfluxgym-tui command hrld.yaml --backend kohya",
    )
    add_spec_source(parser)
    add_sd_scripts(parser)
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the command."""
    workspace = workspace_of(args)
    ready = preflight(spec_of(args), workspace=workspace, sd_scripts=args.sd_scripts, by_hand=hand_edits_of(args))
    command = next_command(ready, workspace=workspace)
    if args.json:
        out.json({"argv": list(command.argv), "env": command.env, "cwd": str(command.cwd)})
    else:
        out.lines(command_text(command.argv, env=command.env, cwd=command.cwd).splitlines())
    if ready.to_fetch:
        downloads = [finding.title for finding in ready.findings if finding.code == "model_download"]
        diagnostics.narrate("before it, what is missing is fetched:", *downloads)
    if ready.errors:
        diagnostics.narrate("train would not start it now:", *error_summary(ready.errors))
    return ExitCode.OK
