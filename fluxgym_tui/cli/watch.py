"""Watching a run: a live line on a terminal, a line every few seconds elsewhere, JSON Lines for programs."""

import time

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.events import EndEvent
from fluxgym_tui.base.text import count, human_size
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.progress import Progress
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.follow import Follower

REDRAW_S = 0.25  # four times a second, as the app
PLAIN_LINE_S = 5.0  # where nothing can be redrawn

EXIT_CODES = {
    "finished": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "interrupted": ExitCode.FAILED,
    "stopped": ExitCode.STOPPED,
}


def watch(run: RunDirectory, out: Output, *, json: bool) -> None:
    """Show `run` from its first event until it ends.

    Raises:
        FluxgymError: there is no such run.
        KeyboardInterrupt: Ctrl+C; the run is not touched by it.
    """
    follower = Follower(run)
    progress = Progress()
    shown, shown_at = "", -PLAIN_LINE_S
    while not follower.done:
        events = follower.poll()
        for event in events:
            if json:
                out.json_line(event.to_json())
            elif lines := progress.feed(event):
                out.lines(lines)
                shown = lines[-1]
        if not json and progress.end is None:
            status = progress.status(now=time.time())
            due = " · " in status and status != shown and time.monotonic() - shown_at >= PLAIN_LINE_S
            if not out.live(status) and due:  # without a fact it says no more than the phase's own line
                out.line(status)
                shown, shown_at = status, time.monotonic()
        out.flush_lines()
        if not (follower.done or (events and isinstance(events[-1], EndEvent))):
            time.sleep(REDRAW_S)


def exit_code(outcome: str | None) -> ExitCode:
    """The exit code of a command that waited for a run of this outcome; a run that has none yet is no failure."""
    return EXIT_CODES.get(outcome or "", ExitCode.OK)


def files_made(run: RunDirectory) -> list[str]:
    """A line for each thing the run left: LoRA files, sample pictures, its folder."""
    loras = [f"  {path}  {human_size(path.stat().st_size)}" for path in sorted(run.output_dir.glob("*.safetensors"))]
    lines = loras or ["  no LoRA was saved"]
    samples = sorted(run.samples.glob("*.png")) if run.samples.is_dir() else []
    if samples:
        lines.append(f"  {run.samples}/  {count(len(samples), 'sample picture')}")
    if run.manifest.is_file():  # fluxgym's runs have none
        lines.append(f"  {run.run_dir}/  spec, events and logs")
    return [f"files of {run.name}:", *lines]
