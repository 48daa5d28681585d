"""Drawn pictures with captions made from what was drawn: all that the tiny base ever sees."""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tiny_flux.canvas import PALETTE, Canvas, Colour, jitter, mix, shade
from tiny_flux.things import SHAPES, THINGS

# The buckets that sd-scripts' steps of 64 leave at a resolution of 160: square, landscape, portrait.
SIZES_PX = ((128, 128), (192, 128), (128, 192))
PLACES = {
    "on the left": (0.27, 0.5),
    "on the right": (0.73, 0.5),
    "at the top": (0.5, 0.3),
    "at the bottom": (0.5, 0.72),
}


@dataclass(frozen=True)
class Drawing:
    """A picture and the words for it."""

    image: Image.Image
    caption: str


def _colour(rng: random.Random, *, unlike: str = "") -> tuple[str, Colour]:
    name = rng.choice([name for name in PALETTE if name != unlike])
    return name, jitter(PALETTE[name], rng)


def _article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _backdrop(rng: random.Random, width_px: int, height_px: int, name: str, colour: Colour) -> tuple[Canvas, str]:
    """A plain, striped, dotted or shaded background and its words."""
    canvas = Canvas(width_px, height_px, background=colour)
    kind = rng.choice(["plain", "plain", "shaded", "shaded", "striped", "dotted"])
    other = shade(colour, rng.choice([-0.22, 0.22]))
    if kind == "shaded":
        canvas.gradient(shade(colour, 0.18), shade(colour, -0.3), turn=rng.uniform(0, 2 * math.pi))
        return canvas, f"on {_article(name)} background"
    if kind == "striped":
        step = rng.uniform(0.1, 0.2)
        for i in range(int(canvas.width / step) + 1):
            canvas.box(i * step, 0, (i + 0.5) * step, canvas.height, other)
    if kind == "dotted":
        step = rng.uniform(0.13, 0.22)
        for i in range(int(canvas.width / step) + 1):
            for j in range(int(canvas.height / step) + 1):
                canvas.ellipse((i + 0.5) * step, (j + 0.5) * step, 0.25 * step, 0.25 * step, other)
    return canvas, f"on {_article(name if kind == 'plain' else f'{kind} {name}')} background"


def _one_thing(rng: random.Random, width_px: int, height_px: int) -> tuple[Canvas, str]:
    background, paint = _colour(rng)
    canvas, where = _backdrop(rng, width_px, height_px, background, paint)
    name, colour = _colour(rng, unlike=background)
    is_shape = rng.random() < 0.45
    noun, draw = rng.choice(list((SHAPES if is_shape else THINGS).items()))
    size, radius = rng.choice([("small ", 0.14), ("", 0.24), ("large ", 0.36 if is_shape else 0.31)])
    place, (u, v) = rng.choice([*PLACES.items(), *[("", (0.5, 0.5))] * 6])
    x, y = u * canvas.width + rng.uniform(-0.03, 0.03), v * canvas.height + rng.uniform(-0.03, 0.03)
    radius *= rng.uniform(0.9, 1.1)
    draw(canvas, (x, y if is_shape else y - 0.2 * radius, radius), colour, rng)
    if noun == "person":
        words = f"{size}person in {name} clothes"
    elif noun == "cup of coffee":
        words = f"{size}{name} cup of coffee"
    else:
        words = f"{size}{name} {noun}"
    return canvas, " ".join(part for part in (_article(words), place, where) if part)


def _two_things(rng: random.Random, width_px: int, height_px: int) -> tuple[Canvas, str]:
    background, paint = _colour(rng)
    canvas, where = _backdrop(rng, width_px, height_px, background, paint)
    (first, one), (second, two) = _colour(rng, unlike=background), _colour(rng, unlike=background)
    nouns = [rng.choice(list(SHAPES.items())) for _ in range(2)]
    radius = rng.uniform(0.16, 0.21)
    beside = width_px > height_px or (width_px == height_px and rng.random() < 0.5)
    for (_, draw), colour, at in zip(nouns, (one, two), (0.27, 0.73), strict=True):
        x, y = (at, 0.5) if beside else (0.5, at)
        draw(canvas, (x * canvas.width, y * canvas.height, radius), colour, rng)
    relation = "beside" if beside else "above"
    return canvas, f"{_article(f'{first} {nouns[0][0]}')} {relation} {_article(f'{second} {nouns[1][0]}')} {where}"


SKIES: dict[str, tuple[Colour, Colour]] = {
    "a blue sky": ((90, 150, 225), (190, 220, 245)),
    "a grey sky": ((130, 138, 150), (195, 198, 200)),
    "a sunset sky": ((90, 70, 140), (245, 160, 85)),
    "a night sky": ((12, 16, 45), (45, 55, 100)),
}
GROUNDS: dict[str, Colour] = {
    "a green field": (90, 150, 60),
    "the sea": (35, 95, 145),
    "yellow sand": (220, 190, 125),
    "white snow": (230, 234, 240),
    "a brown field": (135, 100, 60),
    "a grey street": (110, 110, 115),
}


def _landscape(rng: random.Random, width_px: int, height_px: int) -> tuple[Canvas, str]:
    canvas = Canvas(width_px, height_px, background=(0, 0, 0))
    sky, (top, low) = rng.choice(list(SKIES.items()))
    canvas.gradient(jitter(top, rng), jitter(low, rng))
    horizon = canvas.height * rng.uniform(0.5, 0.68)
    ground, earth = rng.choice(list(GROUNDS.items()))
    earth = jitter(mix(earth, top, 0.45 if sky == "a night sky" else 0.12), rng)
    words = f"{ground} under {sky}"
    if rng.random() < 0.45:
        sun = "moon" if sky == "a night sky" else "sun"
        colour = (235, 235, 220) if sun == "moon" else (250, 225, 110)
        canvas.ellipse(
            rng.uniform(0.15, 0.85) * canvas.width, rng.uniform(0.12, 0.3) * canvas.height, 0.09, 0.09, colour
        )
        words += f" with a {sun}"
    if rng.random() < 0.4:
        _hills(canvas, horizon, mix(rng.choice([(90, 100, 120), (70, 110, 80), (120, 95, 80)]), low, 0.3), rng)
        words += f" and {rng.choice(['mountains', 'hills'])}"
    canvas.box(0, horizon, canvas.width, canvas.height, earth)
    for i in range(6):
        y = horizon + (canvas.height - horizon) * (i / 6) ** 1.5
        band = shade(earth, -0.05 * i + rng.uniform(-0.03, 0.03))
        canvas.box(0, y, canvas.width, canvas.height, band)
    if rng.random() < 0.6:
        noun = "boat" if ground == "the sea" else rng.choice(["tree", "house", "tree", "rocket"])
        name, colour = ("green", jitter(PALETTE["green"], rng)) if noun == "tree" else _colour(rng)
        radius = rng.uniform(0.13, 0.22)
        x = rng.uniform(0.25, 0.75) * canvas.width
        THINGS[noun](canvas, (x, horizon - 0.75 * radius, radius), colour, rng)
        words = (
            f"{_article(f'{name} {noun}')} on {words}"
            if ground == "the sea"
            else f"{_article(f'{name} {noun}')} in {words}"
        )
    return canvas, words


def _hills(canvas: Canvas, horizon: float, colour: Colour, rng: random.Random) -> None:
    """A range of peaks behind the horizon."""
    x = -0.2
    while x < canvas.width:
        wide, high = rng.uniform(0.3, 0.6), rng.uniform(0.15, 0.38)
        canvas.polygon(
            [(x, horizon), (x + wide / 2, horizon - high), (x + wide, horizon)], shade(colour, rng.uniform(-0.15, 0.1))
        )
        x += wide * 0.6


def _gradient(rng: random.Random, width_px: int, height_px: int) -> tuple[Canvas, str]:
    (first, one), (second, two) = _colour(rng), _colour(rng)
    canvas = Canvas(width_px, height_px, background=one)
    turn, words = rng.choice([(math.pi / 2, "from top to bottom"), (0.0, "from left to right")])
    canvas.gradient(one, two, turn=turn)
    return canvas, f"a gradient from {first} to {second} {words}"


def draw(rng: random.Random, *, size_px: tuple[int, int] = SIZES_PX[0]) -> Drawing:
    """One captioned drawing of `size_px` (width, height); the same `rng` state gives the same one."""
    scene = rng.choices([_one_thing, _landscape, _two_things, _gradient], weights=[58, 28, 11, 3])[0]
    canvas, caption = scene(rng, *size_px)
    canvas.light(rng.uniform(0, canvas.width), rng.uniform(0, 0.6), strength=rng.uniform(0.0, 0.14))
    return Drawing(image=canvas.finish(), caption=caption)


def texture(rng: random.Random, *, size_px: tuple[int, int] = SIZES_PX[0]) -> Image.Image:
    """Falling leaves and noise of every scale: uncaptioned, drawn so that the autoencoder meets fine detail.

    Overlapping shapes whose radii follow a power law have the edges and the spectrum of natural pictures
    ("dead leaves", Lee, Mumford and Huang 2001).
    """
    paint = PALETTE[rng.choice(list(PALETTE))]
    background = jitter(mix(paint, (128, 124, 118), rng.uniform(0.2, 0.9)), rng, spread=60)
    canvas = Canvas(*size_px, background=background)
    near = [jitter(background, rng, spread=80) for _ in range(rng.randint(4, 9))]
    for _ in range(rng.randint(60, 260)):
        r = min(0.7, 0.03 / (rng.random() ** 0.8 + 0.02))
        colour = jitter(rng.choice(near), rng, spread=25)
        x, y, turn = rng.uniform(0, canvas.width), rng.uniform(0, canvas.height), rng.uniform(0, math.pi)
        if rng.random() < 0.6:
            canvas.ellipse(x, y, r, r * rng.uniform(0.2, 1.0), colour, turn=turn)
        else:
            points = [(x + r * rng.uniform(-1, 1), y + r * rng.uniform(-1, 1)) for _ in range(rng.choice([3, 4, 5]))]
            canvas.polygon(points, colour)
    canvas.light(rng.uniform(0, canvas.width), rng.uniform(0, canvas.height), strength=rng.uniform(0, 0.4))
    pixels = np.asarray(canvas.finish(), np.float32)
    noise = _fractal_noise(np.random.default_rng(rng.getrandbits(32)), size_px) * rng.choice([0, 0, 4, 8, 16])
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _fractal_noise(rng: np.random.Generator, size_px: tuple[int, int]) -> np.ndarray:
    """Grey noise (H, W, 1), spread about 1, with amplitude falling as a random power of frequency."""
    width, height = size_px
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    fall = (fx * fx + fy * fy + 1e-4) ** (-rng.uniform(0.4, 1.0))
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * fall, s=(height, width))
    out: np.ndarray = ((field - field.mean()) / (field.std() + 1e-6))[..., None]
    return out
