"""Write docs/trainer.md: what the built-in trainer does with each of sd-scripts' flags, from its own table."""

from pathlib import Path

from fluxgym_tui.config.presets import preset_flags
from fluxgym_tui.trainer.flag_table import FLAGS, Flag, Status
from fluxgym_tui.trainer.memory import GIB, estimate_memory

TARGET = Path(__file__).parents[1] / "docs" / "trainer.md"

HEAD = """\
# The built-in trainer

`python -m fluxgym_tui.trainer` trains a FLUX.1 LoRA as kohya-ss/sd-scripts' `flux_train_network.py` does: the same
flags, `dataset.toml`, caches, LoRA keys and metadata. This page is written by `scripts/make_trainer_docs.py`.

A flag is honoured, or refused by its name before anything is loaded; none is taken and then left out of account.

## What it reads and writes

- Pictures are those of sd-scripts' flat listing of each `image_dir`, bucketed, scaled (down by area, up by Lanczos)
  and cropped as there. Latents and captions are cached beside them in sd-scripts' files, with a fingerprint of picture,
  caption, size and encoder: what changed is made again, and only that. Sample prompts are cached in `sample/.prompts/`.
  An encoder that no cache lacks is not loaded. Where captions are not cached both encoders stay loaded, where CLIP-L
  is trained CLIP-L does.
- The order of pictures and all noise follow from `--seed`, the epoch and the step.
- Checkpoints are written before samples are made, whole or not at all. `NAME.safetensors` is the last.
- Facts about the run go as JSON Lines to the file that `FLUXGYM_EVENTS` names; lines for people go to standard output.
- A stop leaves a state folder, and with `--save_state` each checkpoint does; `--resume FOLDER` goes on from it bit for
  bit (same machine, thread count and dataset), and may go on for longer than was planned. States are safetensors and
  JSON.
- SIGINT and SIGTERM stop it at the next optimiser step (picture, sample step) and save that state first; a second one
  ends it at once. A cache that is gone or broken ends it too, after the same.
- A loss or gradient that is not finite ends it with its step named; what was saved stays. `--fluxgym_on_nan skip`
  leaves such a step out.
- What a trainer that was killed left half-written is removed at the next start.

| exit code | meaning |
|---|---|
| 0 | finished: the last LoRA is written and every tensor in it is finite |
| 1 | the training failed: loss not finite, out of memory, disk full |
| 2 | the command line, the dataset or a model file cannot be used; nothing was trained |
| 6 | a package that a flag needs (an optimiser's, wandb) is not installed; the message says how to add it |
| 70 | a bug of ours, with its traceback |
| SIGINT, SIGTERM (130, 143 in a shell) | stopped, as asked |

## Where it differs from sd-scripts

Given the same weights, caches, noise and timesteps it makes the same steps: losses to five digits, CLIP-L's part, masks
and validation among them. What it does otherwise, on purpose:

- Noise, initial weights and the order of pictures come from generators of their own, and what chance does to a caption
  follows from the seed and its place in the epoch: so a resume is exact, and a sample changes nothing.
- `--noise_offset` and `--multires_noise_iterations` work; sd-scripts' FLUX trainer takes them and does nothing.
- Without `--validation_seed` pictures are split by `--seed`. sd-scripts shuffles twice then, and trains on some of
  those that it validates. The four draws for each batch are at any noise level in both: the timestep that sd-scripts
  shows beside them is a label.
- Validation and the probe use captions without what chance does to them.
- A mask (`conditioning_data_dir`) is scaled and cropped as its picture is; sd-scripts stretches it to the bucket.
- What is cached cannot vary: `caption_prefix`, wildcards and dropout by epochs are refused with cached captions, where
  sd-scripts leaves them out without a word.
- Trackers get one entry a step, not one a batch, and TensorBoard's file is written without TensorBoard.
- T5 is never trained.
"""

MEMORY = """
## Checkpoints and memory

A checkpoint is one file in BFL's layout (`.safetensors` or `.sft`, keys with or without `model.diffusion_model.`), in
bf16, fp16, fp32 or plain fp8 (e4m3fn, e5m2), of FLUX.1-dev, schnell or any model of that architecture: sizes and depth
come from its tensors, so Flex.1-alpha's 8 double blocks are as good as 19. Its header is read before anything else.
What it is otherwise is said by name and refused: fp8_scaled, quantised (GGUF, nf4), a whole pipeline with CLIP inside,
a folder or part in diffusers' layout, a LoRA, SDXL, SD, SD 3, Chroma (kohya trains it), FLUX.2, Kontext (by its file's
name or metadata; nothing else tells it from dev), Fill, Canny, Depth, a file that is cut short.

Every tensor goes straight to its place, so there is one copy. On the CPU what is wanted as the file has it is mapped:
the weights are the file's own pages. Otherwise tensors are read one by one. Peak memory on loading is in
[performance.md](performance.md).

- **fp8.** The matrices of the blocks (99% of the model) stay in fp8 where the file has them so; `--fp8_base` makes them
  so (e4m3fn). Each is cast to the precision of computing when it is used, so an fp8 file gives exactly what the same
  numbers in bf16 would give. Biases, norms, embedders and the last layer are never rounded to fp8; sd-scripts rounds
  all of the model. T5's fp8 file (`t5xxl_fp8_e4m3fn`) is used the same way, layer by layer.
- **`--blocks_to_swap N`.** The base never changes while a LoRA learns, so a swapped block has one home, in the CPU's
  page-locked memory, and a copy on the GPU while it is used: it comes on a stream of its own while the block before it
  computes, and nothing goes back. Two such blocks are on the GPU at a time. They are spread over the depth. The CPU's
  memory holds them all. T5's layers come from the file's pages one by one then, so that it fits any card.
- **`--gradient_checkpointing`** keeps of each block its input and attention's output, and computes the rest again.

All of it gives the same numbers, bit for bit, with and without (but for the rounding of `--fp8_base`), as tests show on
the CPU, with copies from its memory to its memory in a GPU's place. What only a GPU does (the second stream,
page-locked memory, its out-of-memory errors) is not run by this project's tests, whose machines have none.

What the recipes (`vram:` of a spec) ask for, and the GPU memory that takes, for FLUX.1-dev, rank 16, batch 1, AdamW,
bf16, captions of 512 tokens. **Computed, not measured** (`fluxgym_tui/trainer/memory.py`: weights, adapters with
gradients and moments, what a step keeps, and 1.2 GB for CUDA itself).

| recipe | at 512x512 | GiB | at 1024x1024 | GiB |
|---|---|---|---|---|
"""
MEMORY_END = """
FLUX.1-dev at 1024x1024 does not fit 8 GB at rank 16; at rank 4 it takes 1 GiB less. The CPU's recipe has none of
these.

At FLUX.1's widths (hidden size 3072) one double and one single block, 545 million numbers in float32, were trained on
two cores: [performance.md](performance.md) has the time of a step and its memory.

## LoRA files

They have sd-scripts' keys, shapes, alpha and metadata, with CLIP-L's layers where it was trained. `--network_weights`
goes on from them and from sd-scripts' own; a LoRA of diffusers' layout, LyCORIS or another model is refused by name.

`fluxgym-tui export LORA|RUN --to diffusers` writes diffusers' (PEFT's) names, for any geometry: fused layers are cut
into diffusers' own, alpha / rank is multiplied into `lora_B`, and smaller ranks are filled up with zeros, since PEFT
has one scale for all. Numbers stay in their precision where the scale is a power of two, and go to float32 where it is
not. In diffusers' FluxPipeline, built from the tiny base, the demo's LoRA then makes our sample: the mean difference
is 0.5 of 255, which is our cutting to whole values (as sd-scripts) against diffusers' rounding. diffusers also reads
the files as they are, by its own conversion, which knows FLUX.1's widths alone; a test holds it to what ours adds.
"""
CARDS = ("48G", "40G", "24G", "20G", "16G", "12G", "10G", "8G")

TITLES = {
    Status.HONOURED: "Honoured",
    Status.ALWAYS: "Taken, and always so",
    Status.REFUSED: "Refused",
    Status.MEANINGLESS: "Refused: without meaning here",
}


def page() -> str:
    """The whole page."""
    parts = [HEAD, MEMORY, *map(_recipe_row, CARDS), MEMORY_END]
    for status, title in TITLES.items():
        flags = [flag for flag in FLAGS.values() if flag.status is status]
        parts.append(f"\n## {title} ({len(flags)})\n\n")
        with_default = status is Status.HONOURED
        parts.append(
            "| flag | default | values, remarks |\n|---|---|---|\n" if with_default else "| flag | why |\n|---|---|\n"
        )
        parts.extend(_row(flag, with_default=with_default) for flag in flags)
    return "".join(parts)


def _recipe_row(card: str) -> str:
    cells = [f"`{card}`"]
    for side_px in (512, 1024):
        recipe = preset_flags(card, backend="builtin", pixels=side_px**2)
        fp8_base, blocks_to_swap = bool(recipe.get("fp8_base")), recipe.get("blocks_to_swap", 0)
        assert isinstance(blocks_to_swap, int)
        words = ["`fp8_base`"] * fp8_base + [f"`blocks_to_swap {blocks_to_swap}`"] * bool(blocks_to_swap)
        total = estimate_memory(side_px**2, fp8_base=fp8_base, blocks_to_swap=blocks_to_swap).total
        cells += [", ".join(words) or "all in bf16", f"{total / GIB:.1f}"]
    return f"| {' | '.join(cells)} |\n"


def _row(flag: Flag, *, with_default: bool) -> str:
    name = f"`--{flag.name}`" + (" (ours)" if flag.ours else "")
    if not with_default:
        return f"| {name} | {flag.note} |\n"
    if flag.required:
        default = "must be given"
    elif flag.read is None:
        default = "off"
    else:
        default = f"`{flag.default}`" if flag.default not in (None, "") else "–"
    choices = ", ".join(f"`{choice}`" for choice in flag.choices or ())
    remarks = "; ".join(part for part in (choices, flag.note) if part)
    return f"| {name} | {default} | {remarks} |\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(f"{TARGET} written")
