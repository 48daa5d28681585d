"""README.md of a run: what it is and what came of it, written when it starts and again when it ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fluxgym_tui.base.events import EndEvent
from fluxgym_tui.base.files import read_json, write_atomic
from fluxgym_tui.base.text import count, human_size
from fluxgym_tui.hub.card import intro, markdown_cell, one_line_markdown, settings_table, trigger_line
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.fold import RunFold, load_fold

_SAMPLES = 12  # pictures shown


def write_readme(run: RunDirectory, *, end: EndEvent | None = None) -> None:
    """Write the README of `run` from its manifest, its journal and the files beside it; `end` is about to be journaled.

    OSError where a file cannot be read or written.
    """
    write_atomic(run.output_dir / "README.md", readme_text(run, end=end))


def readme_text(run: RunDirectory, *, end: EndEvent | None = None) -> str:
    """The README's text: name, trigger, state, files, samples, settings."""
    facts: dict[str, Any] = read_json(run.manifest)
    fold = load_fold(run)
    if end is not None:
        fold.outcome, fold.reason = end.outcome, end.reason
    blocks = [f"# {one_line_markdown(str(facts.get('title') or run.name))}", _intro(facts), _state(facts, fold)]
    if files := _lora_files(run.output_dir):
        blocks.append("## LoRA files\n\n" + "\n".join(files))
    elif fold.outcome is not None:
        blocks.append("No LoRA was saved.")
    if pictures := _sample_names(run):
        newest = pictures[-_SAMPLES:]
        left = len(pictures) - len(newest)
        more = f"The newest {len(newest)} of {len(pictures):,}; the others lie in `sample/`.\n\n" if left else ""
        blocks.append(f"## Samples\n\n{more}" + "\n".join(f"![{name}](sample/{name})" for name in newest))
    blocks.append("## Settings\n\n" + settings_table(facts.get("settings", {})))
    blocks.append(
        "Everything that trained it lies beside this file: `run/spec.yaml` starts the same training again, "
        "`dataset.toml` and `train.sh` are what was run."
    )
    return "\n\n".join(blocks) + "\n"


def _intro(facts: Mapping[str, Any]) -> str:
    lines = [intro(pictures=int(facts.get("pictures", 0)), base=one_line_markdown(str(facts["base_model"])))]
    if trigger := facts.get("trigger"):
        lines.append(trigger_line(str(trigger)))
    return "\n\n".join(lines)


def _state(facts: Mapping[str, Any], fold: RunFold) -> str:
    total = facts.get("total_steps")
    if fold.outcome is None:
        return f"Training: {count(int(total), 'step')} planned." if total else "Training: not begun."
    loss = "" if fold.avg_loss is None else f", average loss {fold.avg_loss:.4f}"
    steps = f"{fold.step:,} of {total:,} steps" if total else count(fold.step, "step")
    reason = f": {markdown_cell(fold.reason)}" if fold.reason and fold.outcome != "finished" else ""
    return f"Training {fold.outcome} after {steps}{loss}{reason}."


def _lora_files(folder: Path) -> list[str]:
    return [f"- `{path.name}` ({human_size(path.stat().st_size)})" for path in sorted(folder.glob("*.safetensors"))]


def _sample_names(run: RunDirectory) -> list[str]:
    """The sample pictures in the order they were made: their names count epochs and steps in turn."""
    pictures = run.samples.glob("*.png") if run.samples.is_dir() else []
    return [path.name for path in sorted(pictures, key=lambda path: (path.stat().st_mtime_ns, path.name))]
