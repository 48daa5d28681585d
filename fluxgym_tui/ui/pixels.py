"""Pictures in pixels for terminals that draw them: Kitty's protocol with Unicode placeholders, and Sixel."""

import base64
import io
import itertools
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from fluxgym_tui.ui.graphics import Graphics
from fluxgym_tui.ui.pictures import Shares, cropped, opened_picture

if TYPE_CHECKING:
    from PIL.Image import Image

_PLACEHOLDER = "\U0010eeee"
_CHUNK = 4096  # of base64, as the protocol wants it
# The marks that number rows and columns, in their order: kitty's rowcolumn-diacritics.txt.
_MARK_RANGES = """
305 30d-30e 310 312 33d-33f 346 34a-34c 350-352 357 35b 363-36f 483-487 592-595 597-599 59c-5a1 5a8-5a9 5ab-5ac 5af
5c4 610-617 657-65b 65d-65e 6d6-6dc 6df-6e2 6e4 6e7-6e8 6eb-6ec 730 732-733 735-736 73a 73d 73f-741 743 745 747
749-74a 7eb-7f1 7f3 816-819 81b-823 825-827 829-82d 951 953-954
"""
_MARKS = [
    chr(code)
    for part in _MARK_RANGES.split()
    for code in range(int(part.partition("-")[0], 16), int(part.rpartition("-")[2], 16) + 1)
]
# Ids are colours of 24 bits; a start of its own for each process keeps two apps in one terminal apart.
_IDS = itertools.count((os.getpid() & 0xFFFF) << 8 | 1)
_COLOURS = 64
_SIXEL_ROWS = 6


class PixelPicture:
    """A picture ready to be shown in `columns` by `rows` cells, made for a room of so many.

    Kitty: `before` goes to the terminal once, `strips` are its cells, `after` frees it. Sixel: `pixels` goes to the
    terminal at the picture's upper left cell whenever that is drawn.
    """

    def __init__(self, image: "Image", columns: int, rows: int, *, kind: str, room: tuple[int, int]) -> None:
        self.columns, self.rows, self.room = columns, rows, room
        self.before, self.after, self.pixels = "", "", ""
        self.strips: list[Strip] = []
        if kind == "kitty":
            number = next(_IDS) & 0xFFFFFF or 1
            self.before = _kitty_data(image, number, columns, rows)
            self.after = f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\"
            self.strips = _kitty_cells(number, columns, rows)
        else:
            self.pixels = sixels(image)


def draw_pixels(path: Path, columns: int, rows: int, *, graphics: Graphics, kept: Shares | None = None) -> PixelPicture:
    """The picture at `path`, upright, as large as fits into `columns` by `rows` cells; `kept` as in `draw_picture`.

    Reads, decodes and encodes: call it in a thread. OSError where the file is no whole picture.
    """
    given = columns, rows
    columns, rows = min(columns, len(_MARKS)), min(rows, len(_MARKS))
    room = columns * graphics.cell_width, rows * graphics.cell_height
    upright = opened_picture(path, *room)
    scale = min(room[0] / upright.width, room[1] / upright.height)
    width, height = max(1, int(upright.width * scale)), max(1, int(upright.height * scale))
    small = upright.convert("RGB").resize((width, height))
    if kept is not None:
        small = cropped(small, kept, line=max(1, graphics.cell_width // 4))
    cells_x, cells_y = -(-width // graphics.cell_width), -(-height // graphics.cell_height)
    whole = small.crop((0, 0, cells_x * graphics.cell_width, cells_y * graphics.cell_height))  # black where it ends
    drawn = whole if graphics.kind == "kitty" else small
    return PixelPicture(drawn, cells_x, cells_y, kind=graphics.kind, room=given)


def _kitty_data(image: "Image", number: int, columns: int, rows: int) -> str:
    """The picture as PNG under the id `number`, to be placed by placeholders; the terminal says nothing about it."""
    file = io.BytesIO()
    image.quantize(256).save(file, "PNG")  # a third of the bytes: the terminal may be at the end of a slow line
    text = base64.b64encode(file.getvalue()).decode("ascii")
    chunks = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    parts = []
    for index, chunk in enumerate(chunks):
        first = f"a=T,U=1,f=100,q=2,i={number},c={columns},r={rows}," if index == 0 else ""
        more = 0 if index == len(chunks) - 1 else 1
        parts.append(f"\x1b_G{first}m={more};{chunk}\x1b\\")
    return "".join(parts)


def _kitty_cells(number: int, columns: int, rows: int) -> list[Strip]:
    """The cells that show the picture: its id is their colour, and marks on each say its row and column."""
    style = Style.from_color(Color.from_rgb(number >> 16, number >> 8 & 0xFF, number & 0xFF))
    return [
        Strip([Segment(_PLACEHOLDER + _MARKS[row] + _MARKS[column], style) for column in range(columns)], columns)
        for row in range(rows)
    ]


def sixels(image: "Image") -> str:
    """`image` as Sixel: bands of six rows, in each a string for every colour in it."""
    paletted = image.quantize(_COLOURS)
    width, height = paletted.size
    palette = paletted.getpalette() or []
    data = paletted.tobytes()
    out = [f'\x1bP0;1;0q"1;1;{width};{height}']
    for index in range(len(palette) // 3):
        red, green, blue = (round(value * 100 / 255) for value in palette[index * 3 : index * 3 + 3])
        out.append(f"#{index};2;{red};{green};{blue}")
    for top in range(0, height, _SIXEL_ROWS):
        rows = [data[(top + row) * width : (top + row + 1) * width] for row in range(min(_SIXEL_ROWS, height - top))]
        band = [f"#{colour}{_runs(_bits(rows, colour))}" for colour in sorted(set(b"".join(rows)))]
        out.append("$".join(band) + "-")
    out.append("\x1b\\")
    return "".join(out)


def _bits(rows: list[bytes], colour: int) -> bytes:
    """For each column one byte: which of the six rows have `colour` there, as Sixel's letters (63 and up)."""
    together = 0
    for row, line in enumerate(rows):
        together |= int.from_bytes(line.translate(_only(colour, row)), "big")
    return together.to_bytes(len(rows[0]), "big").translate(_LETTERS)


@lru_cache(_COLOURS * _SIXEL_ROWS)
def _only(colour: int, row: int) -> bytes:
    """A table that leaves the bit of `row` where a pixel has `colour`."""
    table = bytearray(256)
    table[colour] = 1 << row
    return bytes(table)


_LETTERS = bytes(min(63 + value, 126) for value in range(256))
_RUN = re.compile(rb"(.)\1{3,}")


def _runs(letters: bytes) -> str:
    """`letters` with runs of four and more counted: `!12~`."""
    return _RUN.sub(lambda run: b"!%d%s" % (len(run[0]), run[1]), letters).decode("ascii")
