"""`stop RUN`: asks a run to end politely."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_run
from fluxgym_tui.cli.workspaces import workspace_of, workspace_option
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.state import read_state


def configure(parser: CommandParser) -> None:
    """Set the options of `stop`."""
    parser.show(
        description="Ask a run to stop: at once, or once its next LoRA file is whole. The trainer is interrupted, and\n"
        "only if it does not end, killed. Files that were saved stay.",
        example="fluxgym-tui stop hrld-person\nfluxgym-tui stop hrld-person --at-checkpoint",
    )
    add_run(parser)
    parser.add_argument("--at-checkpoint", action="store_true", help="go on until the next LoRA file is saved")
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Put the request, and say what becomes of it."""
    found = find_run(workspace_of(args).root / "outputs", args.run)
    before = read_state(found)
    asked = not before.state.ended
    if asked:
        request_stop(found, at_checkpoint=args.at_checkpoint)
    if args.json:
        out.json(
            {"run": str(found.output_dir), "state": before.state, "asked": asked, "at_checkpoint": args.at_checkpoint}
        )
    elif asked:
        when = "when its next LoRA file is saved" if args.at_checkpoint else "now"
        option = workspace_option(args)
        out.line(f"{found.name} was asked to stop {when}; fluxgym-tui follow {found.name}{option} shows it end")
    else:
        out.line(f"{found.name} does not run any more: {before.state}")
    return ExitCode.OK
