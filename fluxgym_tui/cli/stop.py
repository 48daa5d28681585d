"""`stop RUN`: asks a run, or all of them, to end politely."""

import argparse
import time

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace, whole_number
from fluxgym_tui.cli.workspaces import workspace_of, workspace_option
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import find_run, run_directories
from fluxgym_tui.runs.state import RunState, read_state

_LOOK_EVERY_S = 0.25


def configure(parser: CommandParser) -> None:
    """Set the options of `stop`."""
    parser.show(
        description="Ask a run to stop: at once, or once its next LoRA file is whole. The trainer is interrupted, and\n"
        "only if it does not end, killed. Files that were saved stay.",
        example="fluxgym-tui stop hrld-person\nfluxgym-tui stop hrld-person --at-checkpoint\n"
        "fluxgym-tui stop --all --wait 120",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="the name of a run, as `runs` lists it, or its folder")
    parser.add_argument("--all", action="store_true", help="every run that has not ended")
    parser.add_argument("--at-checkpoint", action="store_true", help="go on until the next LoRA file is saved")
    parser.add_argument("--wait", type=whole_number(), metavar="SECONDS", help="until it has ended, at most so long")
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Put the request, and say what becomes of it."""
    if args.all == (args.run is not None):
        raise FluxgymError("name one run, or give --all", hint="`fluxgym-tui runs` lists them.")
    outputs = workspace_of(args).root / "outputs"
    ours = (found for found in run_directories(outputs) if not is_adopted(found))
    runs = list(ours) if args.all else [find_run(outputs, args.run)]
    before = [(found, read_state(found).state) for found in runs]
    asked = [found for found, state in before if not state.ended]
    for found in asked:
        request_stop(found, at_checkpoint=args.at_checkpoint)
    late = _wait(asked, args.wait) if args.wait else []
    if args.json:
        rows = [
            {
                "run": str(found.output_dir),
                "state": read_state(found).state if args.wait else state,
                "asked": found in asked,
                "at_checkpoint": args.at_checkpoint,
            }
            for found, state in before
        ]
        out.json({"runs": rows} if args.all else rows[0])
    else:
        _tell(before, asked, late, args, out)
    return ExitCode.FAILED if late else ExitCode.OK


def _tell(
    before: list[tuple[RunDirectory, RunState]],
    asked: list[RunDirectory],
    late: list[RunDirectory],
    args: argparse.Namespace,
    out: Output,
) -> None:
    """What became of each, in words."""
    when = "when its next LoRA file is saved" if args.at_checkpoint else "now"
    option = workspace_option(args)
    for found, state in before:
        if found in late:
            out.line(f"{found.name} was asked to stop {when}, and has not ended after {args.wait} s")
        elif found in asked and args.wait:
            out.line(f"{found.name}: {read_state(found).state}")
        elif found in asked:
            out.line(f"{found.name} was asked to stop {when}; fluxgym-tui follow {found.name}{option} shows it end")
        elif not args.all:
            out.line(f"{found.name} does not run any more: {state}")
    if args.all and not asked:
        out.line("no run is running")


def _wait(runs: list[RunDirectory], seconds: int) -> list[RunDirectory]:
    """Wait for runs to end; those that have not after so many seconds."""
    end = time.monotonic() + seconds
    left = runs
    while (left := [run for run in left if not read_state(run).state.ended]) and time.monotonic() < end:
        time.sleep(_LOOK_EVERY_S)
    return left
