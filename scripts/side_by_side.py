"""Draws the README's picture: samples of the base beside those of the LoRA, from one run's sample folder.

`python scripts/side_by_side.py outputs/demo docs/images/demo.png`: for every prompt the first round of samples
(step 0, the untouched base) and the last, made from the same seed.
"""

import argparse
import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

# sd-scripts' names: NAME_000100_00_20260131235959_42.png, or e000004 in the step's place after an epoch
SAMPLE_NAME = re.compile(r"_(?P<when>e?\d{6})_(?P<prompt>\d{2})_(?P<time>\d{14})(?:_\d+)?\.png$")
TILE_HEIGHT_PX = 288
GAP_PX = 14
CAPTION_PX = 62
FONT_PX = 15
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 34), (110, 110, 116)


@dataclass(frozen=True)
class Pair:
    """One prompt's pictures, before and after."""

    prompt: str
    before: Path
    after: Path


def find_pairs(run: Path) -> list[Pair]:
    """First and last sample of each prompt, in the prompts' order. SystemExit where there are not two rounds."""
    rounds: defaultdict[int, list[tuple[str, Path]]] = defaultdict(list)
    for path in (run / "sample").glob("*.png"):
        if found := SAMPLE_NAME.search(path.name):
            rounds[int(found["prompt"])].append((found["time"], path))
    prompts = _prompts(run / "sample_prompts.txt")
    pairs = []
    for index, samples in sorted(rounds.items()):
        ordered = sorted(samples)
        if len(ordered) > 1 and index < len(prompts):
            pairs.append(Pair(prompt=prompts[index], before=ordered[0][1], after=ordered[-1][1]))
    if not pairs:
        raise SystemExit(f"{run / 'sample'}: no prompt has two samples; train with samples at step 0 and at the end.")
    return pairs


def _prompts(path: Path) -> list[str]:
    """The prompts' words, without their `--w 128` and the like."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [re.split(r"\s--", line)[0] for line in lines if line and not line.startswith("#")]


def draw_sheet(pairs: list[Pair]) -> Image.Image:
    """A sheet with a column for each prompt: its words, the base's picture, the LoRA's."""
    font = ImageFont.load_default(size=FONT_PX)
    tiles = [(_tile(pair.before), _tile(pair.after)) for pair in pairs]
    label_px = 64
    width = label_px + sum(before.width + GAP_PX for before, _ in tiles) + GAP_PX
    height = CAPTION_PX + 2 * (TILE_HEIGHT_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, label in enumerate(("base", "LoRA")):
        middle = CAPTION_PX + row * (TILE_HEIGHT_PX + GAP_PX) + TILE_HEIGHT_PX // 2
        pen.text((GAP_PX, middle), label, fill=INK, font=font, anchor="lm")
    x = label_px
    for pair, (before, after) in zip(pairs, tiles, strict=True):
        letters = max(12, int(before.width / (FONT_PX * 0.52)))
        words = "\n".join(textwrap.wrap(pair.prompt, letters)[:3])
        pen.multiline_text((x, GAP_PX // 2), words, fill=FAINT, font=font, spacing=3)
        sheet.paste(before, (x, CAPTION_PX))
        sheet.paste(after, (x, CAPTION_PX + TILE_HEIGHT_PX + GAP_PX))
        x += before.width + GAP_PX
    return sheet


def _tile(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        width_px = round(picture.width * TILE_HEIGHT_PX / picture.height)
        return picture.convert("RGB").resize((width_px, TILE_HEIGHT_PX), Image.Resampling.LANCZOS)


def main() -> None:
    """Reads the run's folder and writes the PNG."""
    parser = argparse.ArgumentParser(description="Base and LoRA samples of one run, side by side.")
    parser.add_argument("run", type=Path, help="the run's folder, as outputs/demo")
    parser.add_argument("png", type=Path, help="the picture to write, as docs/images/demo.png")
    options = parser.parse_args()
    sheet = draw_sheet(find_pairs(options.run))
    options.png.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.png, optimize=True)
    print(f"{options.png}: {sheet.width} x {sheet.height}")


if __name__ == "__main__":
    main()
