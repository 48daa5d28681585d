"""`demo`: trains the bundled example on its tiny base model, and says what came of it."""

import argparse
from pathlib import Path

from fluxgym_tui.backends.builtin import BuiltinBackend
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import ProbeEvent, RunEvent, StepEvent
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.cli import diagnostics, launching
from fluxgym_tui.cli.findings import finding_lines
from fluxgym_tui.cli.launching import Watching, last_line, start, watch_to_end
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.progress import tenths
from fluxgym_tui.cli.watch import exit_code, files_made
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.specfile import load_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import read_entries

TRAIN_EXTRA = "pip install 'fluxgym-tui[train]'"
LEAST_FALL = 0.2  # of the probe's loss: a fifth of the demo's length makes it fall by more


def configure(parser: CommandParser) -> None:
    """Set the options of `demo`."""
    parser.show(
        description="Train a LoRA on the bundled photographs with the bundled tiny base model: the whole way, start\n"
        "to end, without a GPU or a download. What it makes lies in ./demo, or in the workspace given. On a\n"
        "terminal the app shows it.",
        example="fluxgym-tui demo",
    )
    add_workspace(parser)
    parser.add_argument("--plain", action="store_true", help="on a terminal: watch in lines, not in the app")
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Run the example and print what it made and learnt."""
    if BuiltinBackend().available() is not None:
        raise FluxgymError(
            "training is not installed: this is the light installation, which plans and watches",
            hint=f"Add it with: {TRAIN_EXTRA}",
            code=ExitCode.MISSING_EXTRA,
        )
    if args.workspace is None:
        args.workspace = Path("demo")
    workspace: Workspace = workspace_of(args)
    with Watching(args, out) as watching:
        run = start(load_spec(bundled("examples/demo.yaml")), workspace, started=watching.of)
        if launching.show_run is not None and not (args.json or args.plain):
            seen = launching.watch_in_app(run, workspace, args)
            if seen is None:
                return ExitCode.OK
            summary = seen
        else:
            summary = watch_to_end(run, out, args)
        if args.json:
            out.json_line(last_line(run, summary))
        else:
            out.lines(files_made(run))
            out.lines(learnt(run))
        if (warning := little_learnt(run)) is not None:
            out.flush()
            for line in finding_lines([warning]):
                diagnostics.narrate(line)
        return exit_code(summary.outcome)
    return ExitCode.INTERRUPTED


def learnt(run: RunDirectory) -> list[str]:
    """What the run's own numbers say: the probe before and after, and the first against the last tenth of its steps."""
    events = _events(run)
    losses = {event.step: event.loss for event in events if isinstance(event, StepEvent) and event.loss is not None}
    lines = []
    if (probes := _probes(events)) is not None:
        before, after = probes
        lines.append(f"probe loss (fixed noise, {after.pictures} pictures): {_fall(before.loss, after.loss)}")
    if means := tenths([losses[step] for step in sorted(losses)]):
        lines.append(f"mean loss of the first and the last tenth of {len(losses):,} steps: {_fall(*means)}")
    return lines


def little_learnt(run: RunDirectory) -> Finding | None:
    """The warning that the probe of a finished run fell by less than `LEAST_FALL`; None where it fell by more."""
    probes = _probes(_events(run))
    if probes is None:
        return None
    before, after = probes
    if after.loss <= before.loss * (1 - LEAST_FALL):
        return None
    return Finding(
        code="little_learnt",
        severity=Severity.WARNING,
        title=f"the demo learnt too little: its probe loss went {_fall(before.loss, after.loss)}",
        detail=f"a fall of at least {LEAST_FALL:.0%} was expected",
        fix=f"it trains, but not as it should on this machine: please report it, with {run.run_dir}",
    )


def _events(run: RunDirectory) -> list[RunEvent]:
    return [entry.event for entry, _ in read_entries(run.events)]


def _probes(events: list[RunEvent]) -> tuple[ProbeEvent, ProbeEvent] | None:
    """The probe before and the one after; None before the training is done."""
    probes = {event.when: event for event in events if isinstance(event, ProbeEvent)}
    return (probes["before"], probes["after"]) if {"before", "after"} <= probes.keys() else None


def _fall(before: float, after: float) -> str:
    change = (after - before) / before if before else 0.0
    return f"{before:.4f} -> {after:.4f} ({change:+.0%})"
