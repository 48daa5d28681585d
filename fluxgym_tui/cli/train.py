"""`train SPEC|DIR`: starts a run that survives the terminal, and watches it."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli.launching import Watching, leave_or_watch, start
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.specs import add_sd_scripts, add_spec_source, hand_edits_of, spec_of
from fluxgym_tui.cli.workspaces import workspace_of


def configure(parser: CommandParser) -> None:
    """Set the options of `train`."""
    parser.show(
        description="Train a LoRA from a folder of pictures, or from a spec. The run goes on when this terminal is\n"
        "closed; Ctrl+C ends the watching, not the run. The exit code is the run's: 0 finished,\n"
        "1 failed, 3 not started because of findings, 7 stopped; 130 after Ctrl+C.",
        example='fluxgym-tui train photos/ --trigger "hrld man" --resolution 768,1024\n'
        "fluxgym-tui train hrld.yaml --detach",
    )
    add_spec_source(parser)
    add_sd_scripts(parser)
    parser.add_argument("--detach", action="store_true", help="start the run and come back at once")
    add_workspace(parser)
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Start the run and, unless detached, follow it to its end."""
    with Watching(args, out) as watching:
        run = start(
            spec_of(args),
            workspace_of(args),
            sd_scripts=args.sd_scripts,
            by_hand=hand_edits_of(args),
            started=watching.of,
        )
        return leave_or_watch(run, out, args)
    return ExitCode.INTERRUPTED
