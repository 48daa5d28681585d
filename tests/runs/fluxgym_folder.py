"""A fluxgym folder as it is after some trainings: models, datasets, outputs and nothing of ours."""

import json
import os
import struct
import zlib
from pathlib import Path

METADATA = json.loads((Path(__file__).parents[1] / "data" / "lora_metadata.json").read_text(encoding="utf-8"))
_PNG = b"\x89PNG\r\n\x1a\n"


def png(width: int = 4, height: int = 4) -> bytes:
    """A small whole picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress((b"\0" + b"\x7f\x30\x30" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write_lora(path: Path, *, value: float = 0.5, **metadata: object) -> Path:
    """A LoRA of one tensor, with sd-scripts' metadata, in which `metadata` stands for `ss_...` of the same name."""
    said = METADATA | {f"ss_{name}": str(item) for name, item in metadata.items()}
    tensors = {
        "lora_unet_single_blocks_0_linear1.lora_up.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}
    }
    header = json.dumps({"__metadata__": said, **tensors}).encode("utf-8")
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<16f", *[value] * 16))
    return path


def train_sh(root: Path, name: str, *, vram: str = "20G", every_n_steps: int = 10) -> str:
    """The script that fluxgym would have written for its 20G or 12G: the words of its command, one option a line."""
    out = root / "outputs" / name
    optimizer = {
        "20G": ["--optimizer_type adamw8bit"],
        "12G": [
            "--optimizer_type adafactor",
            '--optimizer_args "relative_step=False" "scale_parameter=False" "warmup_init=False"',
            "--split_mode",
            '--network_args "train_blocks=single"',
            "--lr_scheduler constant_with_warmup",
            "--max_grad_norm 0.0",
        ],
    }[vram]
    lines = [
        "accelerate launch",
        "--mixed_precision bf16",
        "--num_cpu_threads_per_process 1",
        "sd-scripts/flux_train_network.py",
        f'--pretrained_model_name_or_path "{root}/models/unet/flux1-dev.sft"',
        f'--clip_l "{root}/models/clip/clip_l.safetensors"',
        f'--t5xxl "{root}/models/clip/t5xxl_fp16.safetensors"',
        f'--ae "{root}/models/vae/ae.sft"',
        "--cache_latents_to_disk",
        "--save_model_as safetensors",
        "--sdpa --persistent_data_loader_workers",
        "--max_data_loader_n_workers 2",
        "--seed 42",
        "--gradient_checkpointing",
        "--mixed_precision bf16",
        "--save_precision bf16",
        "--network_module networks.lora_flux",
        "--network_dim 4",
        *optimizer,
        f'--sample_prompts="{out}/sample_prompts.txt" --sample_every_n_steps="{every_n_steps}"',
        "--learning_rate 8e-4",
        "--cache_text_encoder_outputs",
        "--cache_text_encoder_outputs_to_disk",
        "--fp8_base",
        "--highvram",
        "--max_train_epochs 16",
        "--save_every_n_epochs 4",
        f'--dataset_config "{out}/dataset.toml"',
        f'--output_dir "{out}"',
        f"--output_name {name}",
        "--timestep_sampling shift",
        "--discrete_flow_shift 3.1582",
        "--model_prediction_type raw",
        "--guidance_scale 1.0",
        "--loss_type l2",
    ]
    return " \\\n  ".join(lines) + " \\"


def dataset_toml(root: Path, name: str, trigger: str) -> str:
    """fluxgym's dataset.toml."""
    return (
        "[general]\nshuffle_caption = false\ncaption_extension = '.txt'\nkeep_tokens = 1\n\n"
        "[[datasets]]\nresolution = 512\nbatch_size = 1\nkeep_tokens = 1\n\n"
        f"  [[datasets.subsets]]\n  image_dir = '{root}/datasets/{name}'\n  class_tokens = '{trigger}'\n"
        "  num_repeats = 10\n"
    )


def write_folder(root: Path, *names: str, vram: str = "20G") -> Path:
    """A fluxgym folder in `root` where the training of each of `names` was started."""
    for folder in ("models/unet", "models/clip", "models/vae", "outputs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        pictures, out = root / "datasets" / name, root / "outputs" / name
        pictures.mkdir(parents=True)
        (pictures / "a.png").write_bytes(png(640, 512))
        (pictures / "a.txt").write_text(f"{name} in a garden", encoding="utf-8")
        (out / "sample").mkdir(parents=True)
        (out / "train.sh").write_text(train_sh(root, name, vram=vram), encoding="utf-8")
        (out / "dataset.toml").write_text(dataset_toml(root, name, f"{name} person"), encoding="utf-8")
        (out / "sample_prompts.txt").write_text(f"{name} riding a bike --d 42\n", encoding="utf-8")
    return root


def finish(root: Path, name: str) -> Path:
    """What a training that came to its end leaves in its folder; the LoRA."""
    out = root / "outputs" / name
    for epoch in (4, 8, 12):
        path = write_lora(out / f"{name}-{epoch:06d}.safetensors", steps=epoch * 10, epoch=epoch, max_train_steps=160)
        os.utime(path, (1795383774 + epoch, 1795383774 + epoch))
    picture = out / "sample" / f"{name}_000040_00_20261122214300_42.png"
    picture.write_bytes(png())
    os.utime(picture, (1795383778, 1795383778))
    (out / "README.md").write_text(f"---\ninstance_prompt: {name} person\n---\n", encoding="utf-8")
    final = write_lora(out / f"{name}.safetensors", steps=160, epoch=16, num_epochs=16, max_train_steps=160)
    os.utime(final, (1795383801, 1795383801))
    return final
