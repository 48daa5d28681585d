"""`check SPEC|DIR`: what would stop or spoil a training, found before it starts."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.cli.findings import finding_lines, summary_line
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.specs import add_sd_scripts, add_spec_source, hand_edits_of, spec_of
from fluxgym_tui.cli.workspaces import workspace_of


def configure(parser: CommandParser) -> None:
    """Set the options of `check`."""
    parser.show(
        description="Check everything that `train` checks before it starts, and start nothing: pictures, settings,\n"
        "base model, backend. The exit code is 3 where something would stop the training.",
        example="fluxgym-tui check hrld.yaml",
    )
    add_spec_source(parser)
    add_sd_scripts(parser)
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print what speaks against the training."""
    ready = preflight(
        spec_of(args), workspace=workspace_of(args), sd_scripts=args.sd_scripts, by_hand=hand_edits_of(args)
    )
    if args.json:
        out.json(
            {
                "ready": not ready.errors,
                "name": ready.spec.output_name,
                "backend": ready.backend.name,
                "base_model": ready.model.key,
                "vram": ready.spec.training.vram,
                "pictures": ready.plan.pictures,
                "total": ready.plan.plan.steps.total,
                "findings": [finding.to_json() for finding in ready.findings],
            }
        )
    else:
        out.lines(finding_lines(ready.findings))
        if ready.findings:
            out.line()
        out.line(
            f"{ready.spec.output_name}: {ready.model.key} with {ready.backend.name}, recipe {ready.spec.training.vram}"
        )
        verdict = "would not start" if ready.errors else "ready to train"
        out.line(f"{verdict}: {summary_line(ready.findings)}")
    return ExitCode.FINDINGS if ready.errors else ExitCode.OK
