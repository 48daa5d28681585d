"""`events RUN`: the journal of a run."""

import argparse
import time
from collections.abc import Iterator

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.events import RunEvent
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_run
from fluxgym_tui.cli.progress import event_line
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.adopted import adopted_events, is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.follow import follow
from fluxgym_tui.runs.journal import read_entries
from fluxgym_tui.runs.listing import find_run


def configure(parser: CommandParser) -> None:
    """Set the options of `events`."""
    parser.show(
        description="Print every event of a run, one a line: what the journal holds now, or with --follow until the\n"
        "run ends.",
        example="fluxgym-tui events hrld-person --json | tail -n 3",
    )
    add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the events."""
    found = find_run(workspace_of(args).root / "outputs", args.run)
    for event in follow(found) if args.follow else _written(found):
        if args.json:
            out.json_line(event.to_json())
        else:
            out.line(f"{time.strftime('%H:%M:%S', time.localtime(event.time))}  {event_line(event)}")
    return ExitCode.OK


def _written(run: RunDirectory) -> Iterator[RunEvent]:
    if is_adopted(run):
        return iter(adopted_events(run))
    return (entry.event for entry, _ in read_entries(run.events))
