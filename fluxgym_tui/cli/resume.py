"""`resume RUN`: goes on with a run that was stopped, interrupted or failed, or makes a finished one longer."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.launching import Watching, leave_or_watch
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_run, whole_number
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.resume import resume


def configure(parser: CommandParser) -> None:
    """Set the options of `resume`."""
    parser.show(
        description="Go on with a run from the newest state it saved (flags.save_state: true), to the end that was\n"
        "planned or some epochs further. Steps, epochs and files are numbered on. The exit code is the run's.",
        example="fluxgym-tui resume hrld-person\nfluxgym-tui resume hrld-person --epochs 4",
    )
    add_run(parser)
    parser.add_argument(
        "--epochs", type=whole_number(0), metavar="N", help="so many epochs more than were planned (default: none)"
    )
    parser.add_argument(
        "--weights",
        action="store_true",
        help="go on from the newest LoRA, without a state: the optimiser begins afresh (kohya)",
    )
    parser.add_argument("--detach", action="store_true", help="start it and come back at once")
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Start the next attempt and, unless detached, follow it to its end."""
    found = find_run(workspace_of(args).root / "outputs", args.run)
    with Watching(args, out) as watching:
        watching.of(found)
        resume(found, more_epochs=args.epochs, weights=args.weights, narrate=diagnostics.narrate)
        return leave_or_watch(found, out, args)
    return ExitCode.INTERRUPTED
