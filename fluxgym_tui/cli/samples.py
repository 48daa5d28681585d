"""`samples RUN`: the sample pictures of a run, with their prompts and the LoRA files of the same moments."""

import argparse
from dataclasses import replace
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.events import SampleEvent
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_run
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.adopted import adopted_events, is_adopted
from fluxgym_tui.runs.checkpoints import Checkpoint, RunFiles, read_sample_prompts
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import read_entries
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.picked import picked


def configure(parser: CommandParser) -> None:
    """Set the options of `samples`."""
    parser.show(
        description="List the sample pictures of a run in the order they were drawn, each with its prompt, seed and\n"
        "the LoRA file that was saved at the same step. The app shows them on the screen Samples.",
        example="fluxgym-tui samples hrld-person\nfluxgym-tui samples hrld-person --json",
    )
    add_run(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the samples."""
    found = find_run(workspace_of(args).root / "outputs", args.run)
    prompts = [prompt.text for prompt in read_sample_prompts(found.output_dir)]
    files = RunFiles(found)
    chosen = picked(found)
    rows = [(event, _lora_of(event, files)) for event in _drawn(found)]
    if args.json:
        out.json(
            {
                "run": found.name,
                "samples": [
                    {
                        "path": event.path,
                        "prompt_index": event.prompt_index,
                        "prompt": _prompt(prompts, event),
                        "step": event.step,
                        "epoch": event.epoch,
                        "seed": event.seed,
                        "lora": None if lora is None else str(lora.path),
                    }
                    for event, lora in rows
                ],
                "loras": [
                    {"path": str(one.path), "step": one.step, "epoch": one.epoch, "picked": one.path == chosen}
                    for one in files.checkpoints
                ],
            }
        )
    elif rows:
        columns: list[str | Column] = [Column("step", "right"), "prompt", Column("seed", "right"), "picture", "LoRA"]
        out.table(columns, [_row(event, lora, prompts) for event, lora in rows])
    else:
        out.line(f"{found.name} has drawn no samples: a spec asks for them by samples.prompts and an interval")
    return ExitCode.OK


def _drawn(run: RunDirectory) -> list[SampleEvent]:
    """The samples that are still there, in the order they were drawn, each under the path it has now."""
    told = adopted_events(run) if is_adopted(run) else [entry.event for entry, _ in read_entries(run.events)]
    drawn = []
    for event in told:
        if isinstance(event, SampleEvent):
            path = run.output_dir / event.path
            path = path if path.is_file() else run.samples / Path(event.path).name  # the folder may have been moved
            if path.is_file():
                drawn.append(replace(event, path=str(path)))
    return drawn


def _lora_of(event: SampleEvent, files: RunFiles) -> Checkpoint | None:
    """The LoRA file that was saved at the moment of the picture."""
    for one in files.checkpoints:
        same_step = event.step is not None and event.step == one.step
        same_epoch = event.step is None and event.epoch is not None and event.epoch == one.epoch
        if same_step or same_epoch:
            return one
    return None


def _prompt(prompts: list[str], event: SampleEvent) -> str | None:
    return prompts[event.prompt_index] if event.prompt_index < len(prompts) else None


def _row(event: SampleEvent, lora: Checkpoint | None, prompts: list[str]) -> tuple[object, ...]:
    moment = f"{event.step:,}" if event.step is not None else f"epoch {event.epoch}" if event.epoch else None
    words = _prompt(prompts, event) or f"prompt {event.prompt_index}"
    return moment, words, event.seed, event.path, None if lora is None else lora.path.name
