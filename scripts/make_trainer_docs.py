"""Write docs/trainer.md: what the built-in trainer does with each of sd-scripts' flags, from its own table."""

from pathlib import Path

from fluxgym_tui.trainer.flag_table import FLAGS, Flag, Status

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
| 6 | the package of the optimiser is not installed; the message says how to add it |
| 70 | a bug of ours, with its traceback |
| SIGINT, SIGTERM (130, 143 in a shell) | stopped, as asked |
"""

TITLES = {
    Status.HONOURED: "Honoured",
    Status.ALWAYS: "Taken, and always so",
    Status.REFUSED: "Refused",
    Status.MEANINGLESS: "Refused: without meaning here",
}


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for status, title in TITLES.items():
        flags = [flag for flag in FLAGS.values() if flag.status is status]
        parts.append(f"\n## {title} ({len(flags)})\n\n")
        with_default = status is Status.HONOURED
        parts.append(
            "| flag | default | values, remarks |\n|---|---|---|\n" if with_default else "| flag | why |\n|---|---|\n"
        )
        parts.extend(_row(flag, with_default=with_default) for flag in flags)
    return "".join(parts)


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
