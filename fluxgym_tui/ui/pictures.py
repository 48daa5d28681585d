"""Pictures in character cells: half blocks in colour, or shades of grey in letters where there is no colour."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

if TYPE_CHECKING:
    from PIL.Image import Image

_SHADES = " .:-=+*#%@"
_KEPT = 512
_LOST = (60, 0, 0)
_EDGE = (255, 214, 90)

Shares = tuple[float, float, float, float]
"""A part of a picture: left, top, right and bottom as shares of its width and height, 0 to 1."""


def fitted(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """The cells (columns, rows) that a picture of `width` by `height` pixels takes; a cell is twice as high as wide."""
    if width <= 0 or height <= 0 or columns <= 0 or rows <= 0:
        return 0, 0
    scale = min(columns / width, rows * 2 / height)
    return max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale / 2)))


def draw_picture(
    path: Path, columns: int, rows: int, *, colour: bool = True, kept: Shares | None = None
) -> list[Strip]:
    """The picture at `path`, upright, as large as fits into `columns` by `rows` cells; one strip a row.

    With `kept`, the part that a crop keeps, the rest is darkened and the crop's edge drawn.

    Reads and decodes the file: call it in a thread. What was drawn before is kept, by the file's time and size.

    Raises:
        OSError: the file cannot be read, or is no whole picture.
    """
    found = path.stat()
    return list(_drawn(path, (columns, rows), colour, kept, (found.st_mtime_ns, found.st_size)))


@lru_cache(_KEPT)
def _drawn(
    path: Path, room: tuple[int, int], colour: bool, kept: Shares | None, version: tuple[int, int]
) -> tuple[Strip, ...]:
    columns, rows = room
    upright = opened_picture(path, columns * 2, rows * 4)
    width, height = fitted(upright.width, upright.height, columns, rows)
    if not width:
        return ()
    small = upright.convert("RGB").resize((width, height * (2 if colour else 1)))
    if kept is not None:
        small = cropped(small, kept)
    return tuple(_half_blocks(small) if colour else _letters(small))


def opened_picture(path: Path, width: int, height: int) -> "Image":
    """The picture at `path`, upright, at least as large as `width` by `height` pixels where the file is. OSError."""
    from PIL import Image, ImageOps  # slow to import, and most screens show no picture

    with Image.open(path) as opened:
        # A JPEG is decoded at the least size that suffices: many times faster for photos.
        opened.draft("RGB", (width, height))
        return ImageOps.exif_transpose(opened)


def cropped(image: "Image", kept: Shares, *, line: int = 1) -> "Image":
    """`image` with all but `kept` darkened, and the edge between them drawn, `line` pixels wide."""
    from PIL import Image, ImageDraw

    width, height = image.size
    left, right = round(kept[0] * width), round(kept[2] * width)
    top, bottom = round(kept[1] * height), round(kept[3] * height)
    if (left, top, right, bottom) == (0, 0, width, height) or right <= left or bottom <= top:
        return image
    dark = Image.blend(image, Image.new("RGB", image.size, _LOST), 0.8)
    dark.paste(image.crop((left, top, right, bottom)), (left, top))
    ImageDraw.Draw(dark).rectangle((left, top, right - 1, bottom - 1), outline=_EDGE, width=line)
    return dark


def _half_blocks(image: "Image") -> list[Strip]:
    """The upper half of a cell in the colour of the letter, the lower in that of its ground."""
    width, height = image.size
    data = image.tobytes()
    strips = []
    for y in range(0, height, 2):
        upper, lower = (data[row * width * 3 : (row + 1) * width * 3] for row in (y, y + 1))
        segments = [Segment("▀", _style(upper[x : x + 3], lower[x : x + 3])) for x in range(0, width * 3, 3)]
        strips.append(Strip(segments, width))
    return strips


@lru_cache(1 << 14)
def _style(upper: bytes, lower: bytes) -> Style:
    return Style.from_color(Color.from_rgb(*upper), Color.from_rgb(*lower))


def _letters(image: "Image") -> list[Strip]:
    width, height = image.size
    grey = image.convert("L").tobytes()
    shades = bytes(ord(_SHADES[value * len(_SHADES) // 256]) for value in range(256))
    return [
        Strip([Segment(grey[y * width : (y + 1) * width].translate(shades).decode("ascii"))], width)
        for y in range(height)
    ]
