"""A small drawing surface: flat and shaded shapes in unit coordinates, antialiased by drawing larger."""

import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

OVERSAMPLE = 3
Colour = tuple[int, int, int]
Point = tuple[float, float]

PALETTE: dict[str, Colour] = {
    "red": (205, 45, 45),
    "orange": (235, 135, 40),
    "yellow": (240, 210, 60),
    "green": (60, 150, 70),
    "teal": (40, 155, 155),
    "blue": (50, 95, 200),
    "purple": (125, 65, 165),
    "pink": (235, 140, 175),
    "brown": (125, 80, 45),
    "black": (28, 28, 32),
    "grey": (135, 135, 140),
    "white": (238, 238, 234),
}


def mix(first: Colour, second: Colour, amount: float) -> Colour:
    """`first` at amount 0, `second` at amount 1."""
    a, b, c = (round(x + (y - x) * amount) for x, y in zip(first, second, strict=True))
    return a, b, c


def shade(colour: Colour, amount: float) -> Colour:
    """Darker below zero, lighter above: -1 is black, 1 is white."""
    return mix(colour, (255, 255, 255) if amount > 0 else (0, 0, 0), abs(amount))


def jitter(colour: Colour, rng: random.Random, *, spread: int = 14) -> Colour:
    """The colour as a painter would mix it the next day."""
    a, b, c = (max(0, min(255, x + rng.randint(-spread, spread))) for x in colour)
    return a, b, c


class Canvas:
    """A picture under way. Places are in units of its short side, from the top left corner."""

    def __init__(self, width_px: int, height_px: int, *, background: Colour) -> None:
        self.size = (width_px, height_px)
        self._scale = min(width_px, height_px) * OVERSAMPLE
        self.width = width_px * OVERSAMPLE / self._scale
        self.height = height_px * OVERSAMPLE / self._scale
        self._image = Image.new("RGB", (width_px * OVERSAMPLE, height_px * OVERSAMPLE), background)
        self._draw = ImageDraw.Draw(self._image)

    def _px(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._scale, y * self._scale) for x, y in points]

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(self._px(points), fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, *, turn: float = 0.0) -> None:
        """A filled ellipse around (x, y), turned by `turn` radians."""
        cos, sin = math.cos(turn), math.sin(turn)
        angles = (2 * math.pi * i / 48 for i in range(48))
        ring = [(rx * math.cos(a), ry * math.sin(a)) for a in angles]
        self.polygon([(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in ring], colour)

    def line(self, points: Sequence[Point], colour: Colour, *, width: float) -> None:
        """An open line, `width` in the canvas's units."""
        self._draw.line(self._px(points), fill=colour, width=max(1, round(width * self._scale)), joint="curve")

    def gradient(self, top: Colour, bottom: Colour, *, turn: float = math.pi / 2) -> None:
        """Fills the whole canvas from one colour to another along `turn` (pi / 2 is downwards)."""
        width, height = self._image.size
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * math.cos(turn)
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * math.sin(turn)
        amount = (x + y) / (abs(math.cos(turn)) + abs(math.sin(turn))) / 2 + 0.5
        first, second = np.asarray(top, np.float32), np.asarray(bottom, np.float32)
        self._replace(first + (second - first) * amount[..., None])

    def light(self, x: float, y: float, *, strength: float) -> None:
        """Brightens around (x, y) and darkens away from it, which gives flat paint some depth."""
        width, height = self._image.size
        u = np.arange(width, dtype=np.float32)[None, :] / self._scale - x
        v = np.arange(height, dtype=np.float32)[:, None] / self._scale - y
        amount = strength * (1 - 1.4 * np.sqrt(u * u + v * v))
        self._replace(np.asarray(self._image, np.float32) * (1 + amount[..., None]))

    def _replace(self, pixels: NDArray[np.float32]) -> None:
        self._image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        self._draw = ImageDraw.Draw(self._image)

    def finish(self) -> Image.Image:
        """The picture at its own size."""
        return self._image.resize(self.size, Image.Resampling.BOX)
