"""A picture as a captioner gets it: upright, sRGB, no larger than it can use."""

import io
import threading
from typing import TYPE_CHECKING, Final

from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.pixels import quiet_pillow, render
from fluxgym_tui.dataset.scanned import ScannedImage

if TYPE_CHECKING:
    from PIL import Image

# Vision models see about this much; more costs time and tokens and changes no caption.
MAX_SIDE_PX: Final = 1024
_JPEG_QUALITY: Final = 90
_one_at_a_time = threading.Lock()  # Pillow's warnings are held back for the whole process


def load_picture(image: ScannedImage, *, max_side_px: int = MAX_SIDE_PX) -> "Image.Image":
    """The picture upright in RGB, its longer side at most `max_side_px`.

    Raises:
        PictureError: it cannot be decoded.
        OSError: it cannot be read.
    """
    from PIL import Image  # slow to import

    width, height = image.upright_size
    short = min(width, height) * max_side_px // max(width, height)
    with _one_at_a_time, quiet_pillow():
        data, _ = render(image, resize=max(1, short), downscale_only=True)
        picture = Image.open(io.BytesIO(data))
        picture.load()
    return picture.convert("RGB")


def jpeg_bytes(image: ScannedImage, *, max_side_px: int = MAX_SIDE_PX) -> bytes:
    """The picture as a JPEG file; raises as `load_picture`."""
    picture = load_picture(image, max_side_px=max_side_px)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def why_unreadable(error: PictureError | OSError) -> str:
    """The reason for people, without the path, which stands beside it."""
    if isinstance(error, PictureError):
        return error.reason
    return error.strerror or str(error)
