"""The things that drawings show: each a function of canvas, spot, colour and chance."""

import math
import random
from collections.abc import Callable

from tiny_flux.canvas import PALETTE, Canvas, Colour, Point, shade

Spot = tuple[float, float, float]  # centre and radius, in the canvas's units
Draw = Callable[[Canvas, Spot, Colour, random.Random], None]


def _ring(x: float, y: float, radii: list[float], *, start: float = -math.pi / 2) -> list[Point]:
    step = 2 * math.pi / len(radii)
    return [(x + r * math.cos(start + i * step), y + r * math.sin(start + i * step)) for i, r in enumerate(radii)]


def circle(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A disc, lit from the upper left half of the time."""
    x, y, r = spot
    canvas.ellipse(x, y, r, r, colour)
    if rng.random() < 0.5:
        for i in range(1, 6):
            k = 1 - i / 6.5
            canvas.ellipse(x - 0.25 * r * i / 6, y - 0.25 * r * i / 6, r * k, r * k, shade(colour, 0.07 * i))


def square(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A square, slightly turned at times."""
    x, y, r = spot
    canvas.polygon(
        _ring(x, y, [r * 1.2] * 4, start=math.pi / 4 + rng.choice([0.0, 0.0, rng.uniform(-0.3, 0.3)])), colour
    )


def triangle(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A triangle that stands on its side."""
    x, y, r = spot
    canvas.polygon(_ring(x, y + 0.15 * r, [r * 1.15] * 3, start=-math.pi / 2 + rng.uniform(-0.1, 0.1)), colour)


def diamond(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A diamond with a lighter half."""
    x, y, r = spot
    w = r * rng.uniform(0.65, 0.9)
    canvas.polygon([(x, y - r), (x + w, y), (x, y + r), (x - w, y)], colour)
    canvas.polygon([(x, y - r), (x, y + r), (x - w, y)], shade(colour, 0.15))


def star(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A star of five points."""
    x, y, r = spot
    canvas.polygon(_ring(x, y, [r * 1.1, r * 0.45] * 5, start=-math.pi / 2 + rng.uniform(-0.15, 0.15)), colour)


def ring(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A thick open circle."""
    x, y, r = spot
    points = _ring(x, y, [r * 0.85] * 48)
    canvas.line([*points, points[0], points[1]], colour, width=r * rng.uniform(0.25, 0.4))


def cross(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """An upright cross."""
    x, y, r = spot
    w = r * rng.uniform(0.28, 0.4)
    canvas.box(x - w, y - r, x + w, y + r, colour)
    canvas.box(x - r, y - w, x + r, y + w, colour)


def heart(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A heart."""
    x, y, r = spot
    del rng
    angles = [2 * math.pi * i / 60 for i in range(60)]
    outline = [
        (16 * math.sin(a) ** 3, -13 * math.cos(a) + 5 * math.cos(2 * a) + 2 * math.cos(3 * a) + math.cos(4 * a))
        for a in angles
    ]
    canvas.polygon([(x + u * r / 15, y + v * r / 15) for u, v in outline], colour)


def flower(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """Petals around a yellow heart, on a stem."""
    x, y, r = spot
    canvas.line([(x, y), (x + 0.1 * r, y + 2 * r)], PALETTE["green"], width=0.14 * r)
    canvas.ellipse(x + 0.4 * r, y + 1.3 * r, 0.4 * r, 0.16 * r, PALETTE["green"], turn=-0.5)
    petals = rng.choice([5, 6, 8])
    for i in range(petals):
        angle = 2 * math.pi * i / petals
        u, v = x + 0.6 * r * math.cos(angle), y + 0.6 * r * math.sin(angle)
        canvas.ellipse(u, v, 0.45 * r, 0.28 * r, shade(colour, 0.12 * (i % 2)), turn=angle)
    canvas.ellipse(x, y, 0.3 * r, 0.3 * r, PALETTE["yellow"])


def tree(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A trunk and a round crown."""
    x, y, r = spot
    canvas.box(x - 0.14 * r, y, x + 0.14 * r, y + 1.3 * r, PALETTE["brown"])
    for _ in range(7):
        u, v = x + rng.uniform(-0.5, 0.5) * r, y + rng.uniform(-0.7, 0.25) * r
        canvas.ellipse(u, v, 0.5 * r, 0.45 * r, shade(colour, rng.uniform(-0.12, 0.15)))


def house(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """Walls, a roof, a door and a window."""
    x, y, r = spot
    roof = shade(PALETTE[rng.choice(["red", "brown", "grey"])], -0.1)
    canvas.box(x - r, y - 0.2 * r, x + r, y + r, colour)
    canvas.polygon([(x - 1.15 * r, y - 0.2 * r), (x, y - r), (x + 1.15 * r, y - 0.2 * r)], roof)
    canvas.box(x - 0.65 * r, y + 0.25 * r, x - 0.2 * r, y + r, shade(PALETTE["brown"], -0.3))
    canvas.box(x + 0.2 * r, y + 0.1 * r, x + 0.7 * r, y + 0.5 * r, shade(PALETTE["yellow"], 0.4))


def face(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A head and shoulders; the colour is that of the clothes."""
    x, y, r = spot
    skin = rng.choice([(240, 200, 170), (225, 170, 130), (165, 110, 75), (110, 70, 48)])
    hair = rng.choice([PALETTE["black"], PALETTE["brown"], (200, 160, 80), PALETTE["grey"]])
    canvas.ellipse(x, y + 1.5 * r, 1.1 * r, 0.8 * r, colour)
    canvas.ellipse(x, y - 0.15 * r, 0.72 * r, 0.85 * r, hair)
    canvas.box(x - 0.2 * r, y + 0.4 * r, x + 0.2 * r, y + 0.9 * r, shade(skin, -0.12))
    canvas.ellipse(x, y + 0.08 * r, 0.56 * r, 0.7 * r, skin)
    for side in (-1, 1):
        canvas.ellipse(x + side * 0.22 * r, y, 0.09 * r, 0.06 * r, PALETTE["white"])
        canvas.ellipse(x + side * 0.22 * r, y, 0.05 * r, 0.05 * r, PALETTE["black"])
    canvas.polygon([(x, y + 0.05 * r), (x + 0.09 * r, y + 0.28 * r), (x - 0.06 * r, y + 0.28 * r)], shade(skin, -0.18))
    canvas.ellipse(x, y + 0.45 * r, 0.2 * r, 0.06 * r, (185, 75, 75))


def cat(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A cat's head with ears, eyes and whiskers, above its body."""
    x, y, r = spot
    canvas.ellipse(x, y + 1.3 * r, 0.75 * r, 0.9 * r, shade(colour, -0.12))
    for side in (-1, 1):
        ear = [(x + side * 0.75 * r, y - 0.95 * r), (x + side * 0.78 * r, y), (x + side * 0.15 * r, y - 0.55 * r)]
        canvas.polygon(ear, colour)
    canvas.ellipse(x, y, 0.8 * r, 0.68 * r, colour)
    eye = PALETTE[rng.choice(["green", "yellow", "teal"])]
    for side in (-1, 1):
        canvas.ellipse(x + side * 0.33 * r, y - 0.1 * r, 0.16 * r, 0.14 * r, eye)
        canvas.ellipse(x + side * 0.33 * r, y - 0.1 * r, 0.05 * r, 0.13 * r, PALETTE["black"])
        canvas.line([(x + side * 0.2 * r, y + 0.3 * r), (x + side * r, y + 0.2 * r)], PALETTE["white"], width=0.04 * r)
    canvas.polygon([(x - 0.1 * r, y + 0.15 * r), (x + 0.1 * r, y + 0.15 * r), (x, y + 0.28 * r)], PALETTE["pink"])


def cup(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A cup of coffee on a saucer."""
    x, y, r = spot
    canvas.ellipse(x, y + 0.8 * r, 1.35 * r, 0.3 * r, shade(colour, -0.15))
    side = rng.choice([-1, 1])
    handle = [
        (x + side * (0.85 + 0.4 * math.sin(a)) * r, y + 0.05 * r - 0.35 * r * math.cos(a))
        for a in (0, 0.8, 1.57, 2.3, 3.1)
    ]
    canvas.line(handle, shade(colour, -0.08), width=0.14 * r)
    canvas.polygon(
        [
            (x - 0.9 * r, y - 0.5 * r),
            (x + 0.9 * r, y - 0.5 * r),
            (x + 0.55 * r, y + 0.8 * r),
            (x - 0.55 * r, y + 0.8 * r),
        ],
        colour,
    )
    canvas.ellipse(x, y - 0.5 * r, 0.9 * r, 0.26 * r, shade(colour, 0.25))
    canvas.ellipse(x, y - 0.47 * r, 0.76 * r, 0.19 * r, (85, 50, 28))


def rocket(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A rocket over its flame."""
    x, y, r = spot
    canvas.polygon(
        [(x - 0.3 * r, y + 0.8 * r), (x + 0.3 * r, y + 0.8 * r), (x, y + rng.uniform(1.3, 1.8) * r)], PALETTE["orange"]
    )
    canvas.polygon([(x - 0.75 * r, y + 0.9 * r), (x, y), (x + 0.75 * r, y + 0.9 * r)], shade(colour, -0.3))
    canvas.ellipse(x, y, 0.38 * r, 1.15 * r, colour)
    canvas.ellipse(x, y - 0.3 * r, 0.18 * r, 0.18 * r, PALETTE["teal"])


def boat(canvas: Canvas, spot: Spot, colour: Colour, rng: random.Random) -> None:
    """A hull and a sail."""
    x, y, r = spot
    canvas.polygon(
        [(x - r, y + 0.4 * r), (x + r, y + 0.4 * r), (x + 0.6 * r, y + 0.9 * r), (x - 0.6 * r, y + 0.9 * r)], colour
    )
    canvas.line([(x, y + 0.4 * r), (x, y - r)], PALETTE["brown"], width=0.08 * r)
    side = rng.choice([-1, 1])
    canvas.polygon(
        [(x + side * 0.07 * r, y - r), (x + side * 0.8 * r, y + 0.25 * r), (x + side * 0.07 * r, y + 0.25 * r)],
        PALETTE["white"],
    )


SHAPES: dict[str, Draw] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "diamond": diamond,
    "star": star,
    "ring": ring,
    "cross": cross,
    "heart": heart,
}
THINGS: dict[str, Draw] = {
    "flower": flower,
    "tree": tree,
    "house": house,
    "person": face,
    "cat": cat,
    "cup of coffee": cup,
    "rocket": rocket,
    "boat": boat,
}
