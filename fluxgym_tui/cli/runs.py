"""`runs`: the runs of the workspace and the truth about each."""

import argparse
import time

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.text import human_time
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.runs.state import RunSummary


def configure(parser: CommandParser) -> None:
    """Set the options of `runs`."""
    parser.show(
        description="List the runs of the workspace, newest first. The state is read from the processes and files\n"
        "themselves, so it is true after a crash, too.",
        example="fluxgym-tui runs",
    )
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print every run."""
    workspace = workspace_of(args)
    runs = list_runs(workspace.root / "outputs")
    if args.json:
        out.json({"runs": [summary.to_json() for summary in runs]})
    elif runs:
        now = time.time()
        columns: list[str | Column] = [
            "name",
            "state",
            Column("step", "right"),
            Column("loss", "right"),
            "started",
            "lasted",
            "why",
        ]
        out.table(columns, [_row(summary, now) for summary in runs])
    else:
        out.line(f"no runs in {workspace.root / 'outputs'}; fluxgym-tui train DIR --trigger WORDS starts one")
    return ExitCode.OK


def _row(summary: RunSummary, now: float) -> tuple[str | None, ...]:
    step = None if summary.step is None else f"{summary.step:,}" + (f"/{summary.total:,}" if summary.total else "")
    lasted = None
    started = None
    if summary.started is not None:
        started = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.started))
        lasted = human_time(max(0.0, (summary.ended or now) - summary.started))
    loss = None if summary.loss is None else f"{summary.loss:.4f}"
    state = summary.state if summary.phase in (None, "train") or summary.ended else f"{summary.state}: {summary.phase}"
    return summary.name, state, step, loss, started, lasted, summary.reason
