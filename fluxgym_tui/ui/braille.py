"""Curves as braille dots: for each column the least and the greatest value, so that no peak is lost."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# The dot at (x, y) of a cell two wide and four high.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


@dataclass(frozen=True, slots=True)
class Window:
    """What of the plane is shown: steps `first` to `last`, values `low` to `high`, on a logarithmic scale if `log`."""

    first: float
    last: float
    low: float
    high: float
    log: bool = False

    def height_of(self, value: float) -> float:
        """Where `value` lies between low (0) and high (1); NaN where it cannot be shown."""
        if self.log:
            if value <= 0:
                return math.nan
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


class Canvas:
    """`width` by `height` cells of 2 by 4 dots; each cell has the colour number of whoever drew in it last."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells = [bytearray(width) for _ in range(height)]
        self.colours = [bytearray(width) for _ in range(height)]

    def column(self, x: int, top: int, bottom: int, colour: int) -> None:
        """Set the dots of column `x` from `top` to `bottom`, both included, counted from above."""
        cell_x, bits = x >> 1, _DOTS[x & 1]
        for y in range(max(top, 0), min(bottom, self.height * 4 - 1) + 1):
            row = y >> 2
            self.cells[row][cell_x] |= bits[y & 3]
            self.colours[row][cell_x] = colour

    def text(self, row: int) -> list[tuple[str, int]]:
        """Row `row` as runs of characters of one colour."""
        runs: list[tuple[str, int]] = []
        cells, colours = self.cells[row], self.colours[row]
        begin = 0
        for x in range(1, self.width + 1):
            if x == self.width or colours[x] != colours[begin]:
                text = "".join(chr(0x2800 + cell) if cell else " " for cell in cells[begin:x])
                runs.append((text, colours[begin]))
                begin = x
        return runs


def bounds(steps: Sequence[int], values: Sequence[float], first: float, last: float) -> tuple[float, float] | None:
    """The least and greatest finite value between two steps."""
    begin, end = bisect_left(steps, first), bisect_left(steps, last + 1)
    finite = [value for value in values[begin:end] if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else None


def draw(canvas: Canvas, steps: Sequence[int], values: Sequence[float], window: Window, colour: int) -> None:
    """Draw one curve: in each column of dots the span of its values; neighbours are joined, also over empty columns."""
    if window.last <= window.first or not steps:
        return
    before: tuple[int, int, int] | None = None
    for x, span in _columns(steps, values, window, canvas):
        if span is None:  # nothing finite: a gap that is seen
            before = None
            continue
        top, bottom = span
        if before is not None and x > before[0]:
            _join(canvas, before, x, (top + bottom) / 2, colour)
            if x == before[0] + 1:
                top, bottom = min(top, before[2] + 1), max(bottom, before[1] - 1)
        canvas.column(x, top, bottom, colour)
        before = (x, *span)


def _join(canvas: Canvas, before: tuple[int, int, int], x: int, y: float, colour: int) -> None:
    """A line through the empty columns between the last one drawn and the point (x, y)."""
    begin, last = before[0], (before[1] + before[2]) / 2
    slope = (y - last) / (x - begin)
    at = round(last)
    for column in range(begin + 1, x):
        to = round(last + slope * (column - begin))
        canvas.column(column, *((at + 1, to) if to > at else (to, at - 1) if to < at else (at, at)), colour)
        at = to


def _columns(
    steps: Sequence[int], values: Sequence[float], window: Window, canvas: Canvas
) -> Iterator[tuple[int, tuple[int, int] | None]]:
    """The columns of dots that have steps in them, each with the dots of its greatest and least value."""
    columns, dots = canvas.width * 2, canvas.height * 4
    scale = (window.last - window.first) / max(columns - 1, 1)
    at = bisect_left(steps, window.first)
    stop = bisect_left(steps, window.last + 1)
    while at < stop:
        x = int((steps[at] - window.first) / scale + 0.5)
        end = max(bisect_left(steps, window.first + (x + 0.5) * scale, at, stop), at + 1)
        yield x, _span(values[at:end], window, dots)
        at = end


def _span(values: Sequence[float], window: Window, dots: int) -> tuple[int, int] | None:
    """The dots from above that the greatest and the least of `values` lie on."""
    low, high = min(values), max(values)
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return None
        low, high = min(finite), max(finite)
    top, bottom = window.height_of(high), window.height_of(low)
    if math.isnan(top) or bottom > 1 or top < 0:
        return None
    if math.isnan(bottom):
        bottom = 0.0
    return round((1 - min(top, 1.0)) * (dots - 1)), round((1 - max(bottom, 0.0)) * (dots - 1))


def ticks(low: float, high: float, rows: int, *, log: bool) -> list[tuple[int, str]]:
    """Labels for `rows` rows from above: the row, and its value in four characters or so."""
    count = 2 if rows < 5 else 3 if rows < 10 else 4
    labels = []
    for part in range(count):
        share = part / (count - 1)
        value = (
            math.exp(math.log(high) + share * (math.log(low) - math.log(high))) if log else high + share * (low - high)
        )
        labels.append((round(share * (rows - 1)), short(value)))
    return labels


def short(value: float) -> str:
    """A value in at most six characters."""
    size = abs(value)
    if size and (size < 0.001 or size >= 100_000):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4f}" if size < 1 else f"{value:.3f}" if size < 10 else f"{value:.4g}"
