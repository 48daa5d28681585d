"""The trainer at FLUX.1's own widths: memory while a checkpoint is loaded and used, and one step of training.

`python scripts/bench/widths.py` prints the rows; `make bench` puts them into docs/performance.md. With `--one` it
measures in its own process, of one file of zeros (sparse on the disk, of a real checkpoint's layout), and prints JSON.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rows import Row

DTYPES = {"fp32": ("F32", 4), "fp16": ("F16", 2), "bf16": ("BF16", 2), "fp8": ("F8_E4M3", 1)}
CAPTION_TOKENS = 512
SIDE_PX = 256
ALLOWED_BYTES = 700_000_000  # beside 1.15 times the file


def measure_widths() -> list[Row]:
    """One double and one single block of FLUX.1's widths, in float32: 2.2 GB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flux1-narrow.safetensors"
        found = measured(path, "--step")
    file_bytes, loaded, step = found["file_bytes"], found["loaded_peak_bytes"], found["step_peak_bytes"]
    return [
        Row(
            "a checkpoint of 2.2 GB loaded and used, peak",
            loaded / 1e9,
            file_bytes / 1e9,
            "GB",
            "the file",
            "<= 1.15x + 0.7 GB",
            loaded <= 1.15 * file_bytes + ALLOWED_BYTES,
        ),
        Row(
            "a step at FLUX.1's widths, 1 + 1 blocks, 256x256 + 512 tokens, rank 16",
            found["step_s"],
            found["products_s"],
            "s wall",
            "its matrix products alone",
            "none set",
            True,
        ),
        Row("that step, peak", step / 1e9, file_bytes / 1e9, "GB", "the file", "none set", True),
    ]


def measured(path: Path, *arguments: str) -> dict[str, Any]:
    """What a fresh process measures with `path`, which it makes."""
    command = [sys.executable, __file__, "--one", str(path), *arguments]
    result = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def write_sparse(path: Path, shapes: dict[str, tuple[int, ...]], *, dtype: str) -> None:
    """A safetensors file of zeros, which takes no room on the disk."""
    name, size = DTYPES[dtype]
    header: dict[str, object] = {}
    offset = 0
    for tensor, shape in shapes.items():
        end = offset + size
        for side in shape:
            end += (end - offset) * (side - 1)
        header[tensor] = {"dtype": name, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + offset)


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def measure_here(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the file, load it, compute with it once, and train a step if that is asked for."""
    import torch

    from fluxgym_tui.trainer.blocks import FluxGeometry
    from fluxgym_tui.trainer.flux import Flux, load_flux

    geometry = FluxGeometry(
        hidden_size=arguments.hidden,
        mlp_size=4 * arguments.hidden,
        depth=arguments.depth,
        depth_single_blocks=arguments.single,
    )
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in Flux(geometry).state_dict().items()}
    write_sparse(arguments.one, shapes, dtype=arguments.stored)
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[arguments.precision]
    before = peak_bytes()
    model = load_flux(arguments.one, dtype=precision, fp8_base=arguments.fp8_base)
    with torch.no_grad():
        model(**_inputs(tokens=4, captions=4))
    found: dict[str, Any] = {
        "file_bytes": arguments.one.stat().st_size,
        "before_bytes": before,
        "loaded_peak_bytes": peak_bytes(),
        "largest_bytes": max(parameter.nbytes for parameter in model.parameters()),
    }
    return found | (_step(model) if arguments.step else {})


def _inputs(*, tokens: int, captions: int) -> dict[str, Any]:
    import torch

    return {
        "img": torch.randn(1, tokens, 64),
        "img_ids": torch.zeros(1, tokens, 3),
        "txt": torch.randn(1, captions, 4096),
        "txt_ids": torch.zeros(1, captions, 3),
        "timesteps": torch.tensor([0.5]),
        "y": torch.randn(1, 768),
        "guidance": torch.ones(1),
    }


def _step(model: Any) -> dict[str, Any]:
    """The second of two steps, and the time that its matrix products take when nothing else is done."""
    import torch

    from fluxgym_tui.trainer.lora import create_lora

    model.gradient_checkpointing = True
    network = create_lora(model, network_dim=16)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    inputs = _inputs(tokens=(SIDE_PX // 16) ** 2, captions=CAPTION_TOKENS)
    for _ in range(2):
        begun = time.monotonic()
        model(**inputs).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.monotonic() - begun
    return {"step_s": seconds, "step_peak_bytes": peak_bytes(), "products_s": _products_s(model)}


def _products_s(model: Any) -> float:
    """Of every block's matrix: forth, again for checkpointing (not the last block), back for the input's gradient."""
    import torch

    from fluxgym_tui.trainer.linear import Linear, product

    images, captions = (SIDE_PX // 16) ** 2, CAPTION_TOKENS
    total = 0.0
    with torch.no_grad():
        for name, linear in model.named_modules():
            if not isinstance(linear, Linear) or not name.startswith(("double_blocks.", "single_blocks.")):
                continue
            modulates, single = "mod" in name, name.startswith("single")
            rows = 1 if modulates else images + captions if single else captions if ".txt_" in name else images
            x, y = torch.randn(rows, linear.in_features), torch.randn(rows, linear.out_features)
            begun = time.monotonic()
            product(x, linear.weight)
            forth = time.monotonic() - begun
            begun = time.monotonic()
            product(y, linear.weight.t())
            total += forth + (0.0 if single else forth) + time.monotonic() - begun
    return total


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=Path, metavar="FILE", help="measure here, with a file made there")
    parser.add_argument("--hidden", type=int, default=3072)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--single", type=int, default=1)
    parser.add_argument("--stored", choices=DTYPES, default="fp32")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--fp8_base", action="store_true")
    parser.add_argument("--step", action="store_true")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure_here(arguments)))
        return
    for row in measure_widths():
        print(f"{row.what}: {row.figure:.3g} {row.unit}, {row.ratio:.2f}x of {row.floor_is}")


if __name__ == "__main__":
    main()
