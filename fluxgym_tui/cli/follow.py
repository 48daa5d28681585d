"""`follow RUN`: watches a run from any terminal."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_run
from fluxgym_tui.cli.watch import exit_code, files_made, watch
from fluxgym_tui.cli.workspaces import workspace_of, workspace_option
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.state import read_state


def configure(parser: CommandParser) -> None:
    """Set the options of `follow`."""
    parser.show(
        description="Show a run from its beginning and go on until it ends. Ctrl+C leaves the run as it is. The exit\n"
        "code is the run's: 0 finished, 1 failed, 7 stopped.",
        example="fluxgym-tui follow hrld-person",
    )
    add_run(parser)
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Follow the run to its end."""
    found = find_run(workspace_of(args).root / "outputs", args.run)
    try:
        watch(found, out, json=args.json)
    except KeyboardInterrupt:
        out.flush()
        if read_state(found).outcome is None:
            option = workspace_option(args)
            diagnostics.narrate(f"{found.name} goes on; fluxgym-tui stop {found.name}{option} stops it")
        return ExitCode.INTERRUPTED
    summary = read_state(found)
    if not args.json:
        out.lines(files_made(found))
    return exit_code(summary.outcome)
