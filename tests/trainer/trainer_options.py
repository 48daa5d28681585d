"""What the trainer's tests start from: the tiny base, a few drawn pictures, and the flags to train on them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from fluxgym_tui.trainer.flags import parse
from fluxgym_tui.trainer.loop import train
from fluxgym_tui.trainer.options import TrainerOptions
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.stopping import StopRequest

TINY_BASE = Path(__file__).parents[2] / "examples" / "tiny-flux"
ALWAYS_GIVEN = ("--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk", "--network_train_unet_only")
CACHED_TEXT = "--cache_text_encoder_outputs_to_disk"
QUICK = (
    "--seed", "1", "--t5xxl_max_token_length", "16", "--learning_rate", "2e-3",
    "--timestep_sampling", "shift", "--model_prediction_type", "raw",
)  # fmt: skip


def arguments_for(
    dataset_config: Path, *more: str, models: Path = TINY_BASE, output_dir: Path = Path("out")
) -> list[str]:
    """A command line that trains `dataset_config` with the base in `models`, and `more` flags."""
    return [
        "--pretrained_model_name_or_path", str(models / "flux1-tiny.safetensors"),
        "--clip_l", str(models / "clip_l.safetensors"),
        "--t5xxl", str(models / "t5xxl.safetensors"),
        "--ae", str(models / "ae.safetensors"),
        "--tokenizer_cache_dir", str(models / "tokenizers"),
        "--dataset_config", str(dataset_config),
        "--output_dir", str(output_dir),
        *ALWAYS_GIVEN,
        *more,
    ]  # fmt: skip


def options_for(
    dataset_config: Path, *more: str, models: Path = TINY_BASE, output_dir: Path = Path("out")
) -> TrainerOptions:
    """The options of `arguments_for`."""
    return parse(arguments_for(dataset_config, *more, models=models, output_dir=output_dir))


def drawn_dataset(folder: Path, *, pictures: int = 3, batch_size: int = 1) -> Path:
    """A dataset.toml in `folder` with so many drawn pictures of 64 x 64 and a caption each, trained once an epoch."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for number in range(pictures):
        image = Image.new("RGB", (64, 64), (250, 240, 200))
        image.paste((40 + 60 * number % 200, 30, 90), (8 + number, 16, 40, 48))
        image.save(photos / f"{number}.png")
        (photos / f"{number}.txt").write_text(f"a red square {number}\n", encoding="utf-8")
    toml = folder / "dataset.toml"
    toml.write_text(
        "[general]\ncaption_extension = '.txt'\n"
        f"[[datasets]]\nresolution = 64\nbatch_size = {batch_size}\n"
        f"[[datasets.subsets]]\nimage_dir = '{photos}'\n",
        encoding="utf-8",
    )
    return toml


def train_quickly(dataset_config: Path, output_dir: Path, *more: str, models: Path = TINY_BASE) -> list[dict[str, Any]]:
    """Train in this process with `QUICK` and `more` flags; the events."""
    given = arguments_for(dataset_config, *QUICK, *more, models=models, output_dir=output_dir)
    return train_here(parse(given), output_dir)


def train_uncached(dataset_config: Path, output_dir: Path, *more: str) -> list[dict[str, Any]]:
    """The same with captions that are encoded for each batch; a seed in `more` takes the place of `QUICK`'s."""
    quick = QUICK[2:] if "--seed" in more else QUICK
    given = arguments_for(dataset_config, *quick, *more, output_dir=output_dir)
    return train_here(parse([word for word in given if word != CACHED_TEXT]), output_dir)


def train_here(options: TrainerOptions, output_dir: Path) -> list[dict[str, Any]]:
    """Train in this process; the events."""
    events = output_dir.parent / f"{output_dir.name}.jsonl"
    report = Reporter(events_path=events, out=io.StringIO())
    try:
        train(options, report=report, stop=StopRequest())
    finally:
        report.close()
    return read_events(events)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The events in a file."""
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def kinds(events: Sequence[dict[str, Any]], *wanted: str) -> list[dict[str, Any]]:
    """The events of these kinds."""
    return [event for event in events if event["kind"] in wanted]
