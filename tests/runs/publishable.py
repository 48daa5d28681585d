"""A finished run written as files: LoRA files, samples, prompts, spec and journal; nothing was trained."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from fluxgym_tui.base import events
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.config.specfile import build_spec, dump_spec
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.runs.journal import Entry, JournalWriter

PROMPTS = (
    "hrld person riding a bike --w 512 --h 768 --d 42 --s 20",
    'hrld person says: "cheese" --d 7 --n blurry --l 2',
    "hrld person in the rain",
)
STEPS_PER_EPOCH = 80
SPEC = {
    "name": "Hrld Person",
    "trigger": "hrld person",
    "base_model": "flux-dev",
    "dataset": {"path": "/home/ada/secret photos", "subsets": [{"path": "/mnt/more"}]},
    "training": {"network_args": ["train_blocks=single"], "optimizer_args": ["weight_decay=0.01"]},
    "samples": {"prompts": [*PROMPTS, "a cat --cn /home/ada/pose.png"], "every_n_epochs": 4},
    "flags": {"logging_dir": "logs", "network_weights": "~/old.safetensors", "lr_scheduler": "cosine"},
    "extra_args": ["--noise_offset", "0.05", "--wandb_run_name=mine", "--vae", "/models/ae.sft"],
    "after": {"command": "ssh ada@home reboot"},
}


def write_lora(path: Path, *, metadata: dict[str, str] | None = None, width: int = 8) -> None:
    """A whole LoRA file with one module in kohya's names, of small real numbers."""
    tensors = {
        "lora_unet_double_blocks_0_img_attn_qkv.alpha": ((), [1.0]),
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": ((2, width), [0.5] * 2 * width),
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": ((3 * width, 2), [0.25] * 6 * width),
    }
    header: dict[str, object] = {"__metadata__": metadata or {}}
    data = b""
    for name, (shape, numbers) in tensors.items():
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def sample_name(run: RunDirectory, epoch: int, index: int, *, seed: int | None = 42, second: int = 0) -> str:
    """A sample's file name as sd-scripts gives it."""
    last = "" if seed is None else f"_{seed}"
    return f"{run.name}_e{epoch:06d}_{index:02d}_202611221200{second:02d}{last}.png"


def add_sample(run: RunDirectory, name: str, *, colour: int = 0) -> Path:
    """A whole picture of that name among the run's samples."""
    run.samples.mkdir(exist_ok=True)
    path = run.samples / name
    Image.new("RGB", (24, 16), (colour % 256, 90, 200)).save(path)
    return path


def publishable_run(
    outputs: Path,
    name: str = "hrld-person",
    *,
    epochs: Sequence[int] = (4, 8),
    journaled: bool = True,
    facts: dict[str, object] | None = None,
) -> RunDirectory:
    """A run of `epochs[-1]` epochs with a LoRA file and three samples at each of `epochs`, the base's samples first."""
    run = create(outputs, name)
    total = epochs[-1] * STEPS_PER_EPOCH
    write_plan(run, CommandPlan(children=(ChildCommand(phase="train", argv=("true",), cwd=run.output_dir),)))
    told: list[events.RunEvent] = [events.AttemptEvent(time=1.0, number=1, command=["true"], pid=1)]
    told.append(events.StepEvent(time=2.0, step=total, total=total, loss=0.25, avg_loss=0.3))
    for epoch in (0, *epochs):
        for index in range(3):
            path = add_sample(run, sample_name(run, epoch, index, seed=42 if index == 0 else None), colour=epoch * 20)
            told.append(events.SampleEvent(time=3.0, path=str(path), prompt_index=index, epoch=epoch))
        if epoch:
            file = f"{run.name}.safetensors" if epoch == epochs[-1] else f"{run.name}-{epoch:06d}.safetensors"
            step = epoch * STEPS_PER_EPOCH
            write_lora(
                run.output_dir / file,
                metadata={"ss_epoch": str(epoch), "ss_steps": str(step), "ss_output_name": run.name},
            )
            told.append(events.CheckpointEvent(time=4.0, path=file, step=step, epoch=epoch))
    told.append(events.EndEvent(time=5.0, outcome="finished", exit_code=0))
    if journaled:
        writer = JournalWriter(run.events)
        writer.append([Entry(event) for event in told])
        writer.close()
    run.spec.write_text(dump_spec(build_spec(SPEC)), encoding="utf-8")
    (run.output_dir / "sample_prompts.txt").write_text("".join(f"{line}\n" for line in PROMPTS), encoding="utf-8")
    (run.output_dir / "dataset.toml").write_text(
        "[[datasets]]\nresolution = [768, 1024]\nbatch_size = 2\n[[datasets.subsets]]\nimage_dir = '/home/ada/x'\n"
        "num_repeats = 10\n",
        encoding="utf-8",
    )
    told_facts: dict[str, object] = {
        "title": "Hrld Person",
        "trigger": "hrld person",
        "backend": "builtin",
        "base_model": "flux-dev",
        "pictures": 12,
        "steps_per_epoch": STEPS_PER_EPOCH,
        "epochs": epochs[-1],
        "total_steps": total,
        "settings": {"learning_rate": 8e-4, "network_dim": 4, "network_alpha": 1.0, "seed": 42},
        "staged": str(outputs.parent / "datasets" / name),
    }
    write_json(run.manifest, {**read_json(run.manifest), **told_facts, **(facts or {})})
    return run
