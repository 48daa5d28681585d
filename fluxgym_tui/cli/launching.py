"""Starting a run from the command line and watching it to its end: what `train`, `demo` and `resume` share."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.events import ProblemEvent
from fluxgym_tui.base.files import read_json, write_atomic
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.findings import finding_lines
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.watch import exit_code, files_made, watch
from fluxgym_tui.cli.workspaces import workspace_option
from fluxgym_tui.config.by_hand import HandEdits
from fluxgym_tui.config.smaller import smaller_spec
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import dump_spec, load_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import read_entries
from fluxgym_tui.runs.launch import launch
from fluxgym_tui.runs.state import RunState, RunSummary, read_state

# Shows a run in the app until the user leaves that; set by `__main__` on a terminal, which alone knows both programs.
show_run: Callable[[RunDirectory, Workspace], object] | None = None


class Watching:
    """Around a start and the watching after it: Ctrl+C ends them, and the user is told of the run that goes on.

    Where none does, the KeyboardInterrupt goes further.
    """

    def __init__(self, args: argparse.Namespace, out: Output) -> None:
        self._args = args
        self._out = out
        self._run: RunDirectory | None = None

    def of(self, run: RunDirectory) -> None:
        """`run` is what may go on from now on."""
        self._run = run

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> bool:
        if kind is None or not issubclass(kind, KeyboardInterrupt) or self._run is None:
            return False
        self._out.flush()
        if read_state(self._run).state.ended:
            return False
        _tell_it_goes_on(self._run, workspace_option(self._args))
        if self._args.json:
            self._out.json_line(last_line(self._run, None))
        return True


def start(
    spec: TrainSpec,
    workspace: Workspace,
    *,
    sd_scripts: Path | None = None,
    by_hand: HandEdits | None = None,
    started: Callable[[RunDirectory], None] | None = None,
) -> RunDirectory:
    """Start the run of `spec`, telling on stderr what is done. Arguments and errors as `launch` has them."""
    run = launch(
        spec,
        workspace=workspace,
        narrate=diagnostics.narrate,
        sd_scripts=sd_scripts,
        by_hand=by_hand,
        started=started,
    )
    for line in finding_lines(_warnings(run)):
        diagnostics.narrate(line)
    diagnostics.narrate(f"run {run.name} in {run.output_dir}")
    return run


def _warnings(run: RunDirectory) -> list[Finding]:
    """What the checks before the start warned of, as the run's manifest keeps it."""
    findings = read_json(run.manifest).get("findings", [])
    return [
        Finding(
            code=found["code"],
            severity=Severity.WARNING,
            title=found["title"],
            fix=found["fix"],
            detail=found["detail"],
            path=found["path"],
        )
        for found in findings
        if found["severity"] == Severity.WARNING
    ]


def leave_or_watch(run: RunDirectory, out: Output, args: argparse.Namespace) -> ExitCode:
    """What follows a start: with --detach how to come back, else the run to its end and the files it made."""
    if args.detach:
        if args.json:
            out.json_line(last_line(run, None))
        else:
            out.line(f"{run.name} runs; fluxgym-tui follow {run.name}{workspace_option(args)} watches it")
        return ExitCode.OK
    summary = watch_to_end(run, out, args)
    if args.json:
        out.json_line(last_line(run, summary))
    else:
        out.lines(files_made(run))
    return exit_code(summary.outcome)


def watch_to_end(run: RunDirectory, out: Output, args: argparse.Namespace) -> RunSummary:
    """Show the run until it ends; errors as `watch` has them."""
    watch(run, out, json=args.json)
    summary = read_state(run)
    if summary.state is RunState.FAILED:
        _offer_smaller(run, workspace_option(args))
    return summary


def _offer_smaller(run: RunDirectory, option: str) -> None:
    """Where the GPU's memory was too small, write the spec of the next smaller recipe and name the command."""
    problems = [entry.event for entry, _ in read_entries(run.events) if isinstance(entry.event, ProblemEvent)]
    if not problems or problems[-1].code != "out_of_memory" or not run.spec.is_file():
        return
    smaller = smaller_spec(load_spec(run.spec))
    if smaller is None:
        return
    path = run.output_dir / f"{run.name}-{smaller.training.vram}.yaml"
    write_atomic(path, dump_spec(smaller))
    diagnostics.narrate(
        f"The same training by the recipe {smaller.training.vram}:",
        f"fluxgym-tui train {shlex.quote(str(path))}{option}",
    )


def watch_in_app(run: RunDirectory, workspace: Workspace, args: argparse.Namespace) -> RunSummary | None:
    """Show the run in the app; None where the user left it before the run's end, of which they were told."""
    assert show_run is not None
    show_run(run, workspace)
    summary = read_state(run)
    if summary.state.ended:
        return summary
    _tell_it_goes_on(run, workspace_option(args))
    return None


def _tell_it_goes_on(run: RunDirectory, option: str) -> None:
    diagnostics.narrate(
        f"{run.name} goes on without this terminal.",
        f"fluxgym-tui follow {run.name}{option}   watches it again",
        f"fluxgym-tui stop {run.name}{option}   stops it",
    )


def last_line(run: RunDirectory, summary: RunSummary | None) -> dict[str, str | None]:
    """The last JSON line of `train` and `demo`; `outcome` is null while the run goes on."""
    return {
        "run": str(run.output_dir),
        "outcome": None if summary is None else summary.outcome,
        "lora": None if summary is None or summary.lora is None else str(summary.lora),
    }
