"""A workspace that looks the same wherever and whenever it is built: pictures, a spec, and runs in every state."""

from pathlib import Path

from PIL import Image, ImageDraw

from fluxgym_tui.base import events
from fluxgym_tui.base.files import write_atomic, write_json
from fluxgym_tui.machine.processes import identify
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import Entry, JournalWriter
from tests.runs.publishable import write_lora
from tests.ui.written_runs import BEGAN, write_run

NOW = BEGAN + 90.0
SPEC = """\
schema: 1
name: Hrld Person
trigger: hrld person
base_model: tiny-flux
backend: builtin
dataset:
  path: photos
  resolution: [768, 1024]
  num_repeats: 10
  batch_size: 2
training: {vram: cpu, network_dim: 16, network_alpha: 8, max_train_epochs: 8, save_every_n_epochs: 2}
samples: {prompts: ["hrld person riding a bike", "hrld person in the rain"], every_n_steps: 100, at_first: true}
"""
_SIZES = ((768, 1024), (1024, 768), (1024, 1024), (3000, 4000), (4000, 3000), (640, 480), (1500, 500))
_CAPTIONS = ("hrld person, on a bench in a park", "", "hrld person, close, smiling", "a portrait in grey")


def shown_workspace(root: Path) -> tuple[Path, RunDirectory]:
    """Fill `root`; the spec, and the run with samples."""
    photos = root / "photos"
    photos.mkdir()
    for number, size in enumerate((*_SIZES, *_SIZES[:4])):
        small = (size[0] // 4, size[1] // 4)
        image = Image.new("RGB", small, (60 + 15 * number, 110, 170 - 10 * number))
        ImageDraw.Draw(image).ellipse(
            (small[0] // 4, small[1] // 4, 3 * small[0] // 4, 3 * small[1] // 4), fill=(230, 190, 90)
        )
        image.save(photos / f"IMG_{2040 + number}.png")
        if caption := _CAPTIONS[number % len(_CAPTIONS)]:
            write_atomic(photos / f"IMG_{2040 + number}.txt", caption + "\n")
    spec = root / "hrld.yaml"
    write_atomic(spec, SPEC)
    outputs = root / "outputs"
    write_run(outputs, "mira-old", steps=12, outcome=None, began=BEGAN - 90_000)
    problem = events.ProblemEvent(
        time=BEGAN - 50_000,
        code="out_of_memory",
        title="the GPU ran out of memory",
        fix="Take the next smaller recipe: training.vram: 12G.",
    )
    write_run(
        outputs, "mira", steps=7, total=400, outcome="failed", reason="exit code 1", problem=problem,
        began=BEGAN - 50_010, log="loading\nsteps:   2% 7/400\ntorch.OutOfMemoryError: CUDA out of memory.\n",
    )  # fmt: skip
    write_run(
        outputs, "naïve café \x1b[31m", steps=30, outcome="stopped", reason="stopped on request", began=BEGAN - 5e3
    )
    run = write_run(outputs, "hrld-person", steps=200, total=200, began=BEGAN - 3_000, log=_log(200))
    for name in ("hrld-person-000100", "hrld-person"):
        write_lora(run.output_dir / f"{name}.safetensors")
    add_samples(run, steps=(0, 100, 200))
    write_atomic(run.spec, SPEC.replace("path: photos", f"path: {photos}"))
    return spec, run


def running_run(root: Path) -> RunDirectory:
    """A run that seems to be supervised by the present process: half way, its last step just now."""
    run = write_run(root / "outputs", "hrld-person-2", steps=88, total=200, outcome=None, log=_log(88))
    alive = identify()
    assert alive is not None
    write_json(run.lock, alive.to_json())
    write_json(run.child("train", 1).process, {"wrapper": alive.to_json(), "child": alive.to_json()})
    return run


def add_samples(run: RunDirectory, *, steps: tuple[int, ...], size: tuple[int, int] = (96, 96)) -> None:
    """Two prompts at `steps`, by name and in the journal."""
    run.samples.mkdir()
    told = []
    for step in steps:
        for prompt in range(2):
            path = run.samples / f"{run.name}_{step:06d}_{prompt:02d}.png"
            image = Image.new("RGB", size, (step // 2, 90 + 60 * prompt, 120))
            corner = size[0] // 8 * (prompt + 1)
            ImageDraw.Draw(image).rectangle((corner, corner, size[0] - corner, size[1] - corner), fill=(220, step, 60))
            image.save(path)
            told.append(events.SampleEvent(time=BEGAN, path=str(path), prompt_index=prompt, step=step, seed=42))
    writer = JournalWriter(run.events)
    writer.append([Entry(event) for event in told])
    writer.close()
    write_atomic(run.output_dir / "sample_prompts.txt", "hrld person riding a bike\nhrld person in the rain\n")


def _log(steps: int) -> str:
    lines = [
        f"steps: {step * 100 // 200:>3}% {step}/200 [00:{step % 60:02d}, loss=0.4{step:03d}]" for step in range(steps)
    ]
    lines[steps // 2] = "WARNING: IMG_2041.png has no caption; the trigger is used"
    return "loading the model\n" + "\n".join(lines) + "\n"
