"""The commands in tests/data/kohya-commands.txt: one for each recipe and each base model, an option on each line.

`python -m tests.backends.kohya.golden` writes them anew; what changed is then to be read in the difference.
"""

import sys
from pathlib import Path

import fluxgym_tui
from fluxgym_tui.backends.base import TrainJob
from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.backends.kohya.checkout import Checkout
from fluxgym_tui.config.models import expected_files, load_models
from fluxgym_tui.config.presets import wants_small_t5
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.vram import VRAM_KEYS

FILE = Path(__file__).parents[2] / "data" / "kohya-commands.txt"
_WORKSPACE = Path("/gym")
_PACKAGE = Path(fluxgym_tui.__file__).parent


def cases() -> list[tuple[str, str, int]]:
    """Base model, recipe and resolution of each command."""
    recipes = [key for key in VRAM_KEYS if key != "auto"]
    models = [key for key, entry in load_models().items() if not entry.bundled and key != "flux-dev"]
    return [
        *(("flux-dev", vram, 512) for vram in recipes),
        ("flux-dev", "16G", 1024),
        ("flex1-alpha", "12G", 512),  # has fewer blocks to swap
        *((model, "24G", 512) for model in models),
    ]


def title(case: tuple[str, str, int]) -> str:
    """The heading of a command."""
    model, vram, resolution = case
    return f"{model} {vram} {resolution}"


def arguments(case: tuple[str, str, int]) -> tuple[str, ...]:
    """The command of a new spec that sets nothing but these, with sample pictures; eight threads are granted."""
    model, vram, resolution = case
    entry = load_models()[model]
    spec = build_spec(
        {
            "name": "Hrld Person",
            "dataset": {"path": "/photos", "resolution": resolution},
            "samples": {"prompts": ["hrld person riding a bike"], "every_n_steps": 100},
        }
    )
    output = _WORKSPACE / "outputs/hrld-person"
    job = TrainJob(
        output_dir=output,
        output_name="hrld-person",
        dataset_config=output / "dataset.toml",
        models=expected_files(entry, workspace=_WORKSPACE, small_t5=wants_small_t5(vram, backend="kohya")),
        sample_prompts=output / "sample_prompts.txt",
        flags=effective_flags(spec, backend="kohya", vram=vram, model=entry),
    )
    checkout = Checkout(_WORKSPACE / "sd-scripts", _WORKSPACE / "sd-scripts/.venv/bin/python")
    argv = KohyaBackend(checkout, threads=8).would_run(job).argv
    # The program is found on the PATH, or not; its settings lie where we are installed.
    return ("accelerate", *(word.replace(str(_PACKAGE), "PACKAGE") for word in argv[1:]))


def text(argv: tuple[str, ...]) -> str:
    """A command, an option with its values on each line."""
    lines: list[str] = []
    for word in argv:
        if not lines or word.startswith("--") or word.endswith(".py"):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return "".join(f"  {line}\n" for line in lines)


def all_text() -> str:
    """All of the file."""
    return "\n".join(f"{title(case)}\n{text(arguments(case))}" for case in cases())


if __name__ == "__main__":
    FILE.write_text(all_text(), encoding="utf-8")
    sys.exit(0)
