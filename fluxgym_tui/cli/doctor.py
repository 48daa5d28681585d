"""`doctor`: what this machine has for training, and what is wrong with it."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.findings import blocking
from fluxgym_tui.checks.doctor import diagnose, machine_facts
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.findings import finding_lines, summary_line
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of


def configure(parser: CommandParser) -> None:
    """Set the options of `doctor`."""
    parser.show(
        description="Look at the GPU, its driver, memory, disks, both trainers and the login, and say what would stop\n"
        "or spoil a training. Both trainers' PyTorch is imported and computes once: that takes some seconds. The exit\n"
        "code is 3 where something stops a training.",
        example="fluxgym-tui doctor\nfluxgym-tui doctor --quick --json",
    )
    parser.add_argument("--quick", action="store_true", help="import nothing: look at files and the driver alone")
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print what there is and what is wrong with it."""
    found = diagnose(machine_facts(workspace_of(args), deep=not args.quick, narrate=diagnostics.narrate))
    errors = blocking(list(found.findings))
    if args.json:
        out.json(
            {
                "ready": not errors,
                "machine": dict(found.rows),
                "findings": [finding.to_json() for finding in found.findings],
            }
        )
    else:
        out.table(["what", "here"], found.rows)
        out.line()
        out.lines(finding_lines(found.findings))
        out.line(f"{'a training would stop' if errors else 'ready to train'}: {summary_line(found.findings)}")
    return ExitCode.FINDINGS if errors else ExitCode.OK
