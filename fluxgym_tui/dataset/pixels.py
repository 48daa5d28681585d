"""Copies of pictures whose pixels must change before training: upright, RGB, sRGB, 8 bits, on white, resized."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.headers import enable_plugin, pillow_errors
from fluxgym_tui.dataset.scanned import ScannedImage

if TYPE_CHECKING:
    from PIL import Image

# Of what was lossy before: visually the same at a fifth of PNG's size. 4:4:4 keeps the colours' full resolution.
JPEG_QUALITY: Final = 98
_LOSSY: Final = frozenset(("jpeg", "mpo", "heif", "avif", "jxl"))
# Raised whenever `render` makes other pixels than before, so that older copies are made anew.
RENDER_VERSION: Final = 1
# Flips and turns that undo EXIF orientations 2 to 8, by the names of Pillow's `Transpose`.
_UPRIGHT: Final = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings about odd files from the terminal; not to be entered from several threads at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def staged_size(image: ScannedImage, *, resize: int = 0, downscale_only: bool = True) -> tuple[int, int]:
    """Width and height in pixels of the picture as it is trained: upright, its shorter side `resize` (0: as it is).

    The longer side is rounded down, as fluxgym does. With `downscale_only` smaller pictures stay as they are.
    """
    width, height = image.upright_size
    short = min(width, height)
    if resize <= 0 or short == resize or (downscale_only and short < resize):
        return width, height
    return width * resize // short, height * resize // short


def needs_copy(image: ScannedImage, *, resize: int = 0, downscale_only: bool = True) -> bool:
    """Whether a trainer would see this picture wrong, so that a copy with other pixels is trained.

    An embedded colour profile counts only where it is not sRGB: the file's profile is read to tell.
    """
    if image.orientation != 1 or staged_size(image, resize=resize, downscale_only=downscale_only) != image.upright_size:
        return True
    if any(trait != "icc" for trait in image.traits):
        return True
    return bool(image.traits) and not _has_srgb_profile(image.path)


def copy_extension(image: ScannedImage) -> str:
    """The extension of the copy: JPEG of what was lossy, PNG of the rest."""
    return ".jpg" if image.format in _LOSSY and "alpha" not in image.traits else ".png"


def render(
    image: ScannedImage, *, resize: int = 0, downscale_only: bool = True, keep_alpha: bool = False
) -> "tuple[bytes, tuple[int, int]]":
    """The copy that is trained, as the bytes of a picture file, and its width and height in pixels.

    Pixels are brought to 8-bit sRGB (relative colorimetric with black point compensation), transparency is put on
    white or kept as it is, the first frame of an animation is taken, then the picture is turned upright and resized
    (Lanczos). PictureError where the file cannot be decoded.
    """
    from PIL import Image  # slow to import, and linked pictures never need it

    if "foreign" in image.traits:
        for plugin in ("heic", "avif", "jxl"):
            enable_plugin(plugin)
    try:
        with Image.open(image.path) as opened:
            opened.load()
            picture = _to_srgb(opened, keep_alpha=keep_alpha)
    except FileNotFoundError:
        raise
    except pillow_errors() as error:
        raise PictureError("broken", f"it cannot be decoded ({error or type(error).__name__})") from error
    turn = _UPRIGHT.get(image.orientation)
    if turn is not None:
        picture = picture.transpose(Image.Transpose[turn])
    width, height = picture.size
    short = min(width, height)
    if resize > 0 and short != resize and not (downscale_only and short < resize):
        picture = picture.resize((width * resize // short, height * resize // short), Image.Resampling.LANCZOS)
    picture.info = {}  # the old profile and orientation would be written along
    buffer = io.BytesIO()
    if copy_extension(image) == ".jpg":
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue(), picture.size


def _to_srgb(picture: "Image.Image", *, keep_alpha: bool) -> "Image.Image":
    """The picture as RGB in sRGB, its transparency on white or beside it."""
    from PIL import Image

    profile = picture.info.get("icc_profile")
    alpha = None
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    elif "transparency" in picture.info or picture.mode in {"PA", "La", "RGBa"}:
        picture = picture.convert("RGBA")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    if picture.mode in {"RGBA", "LA"}:
        alpha = picture.getchannel("A")
        picture = picture.convert("RGB" if picture.mode == "RGBA" else "L")
    converted = _through_profile(picture, profile) if profile and not _is_srgb(profile) else None
    rgb = converted or picture.convert("RGB")
    if alpha is None:
        return rgb
    if keep_alpha:
        rgb.putalpha(alpha)
        return rgb
    white = Image.new("RGB", rgb.size, (255, 255, 255))
    white.paste(rgb, mask=alpha)
    return white


def _eight_bits(picture: "Image.Image") -> "Image.Image":
    """16-bit grey as 8-bit grey, by the whole range (Pillow's own conversion clips at 255)."""
    return picture.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _through_profile(picture: "Image.Image", profile: bytes) -> "Image.Image | None":
    """The picture converted from `profile` to sRGB; None where the profile is damaged or not for such a picture."""
    from PIL import ImageCms

    try:
        return ImageCms.profileToProfile(
            picture,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):
        return None


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Whether converting by `profile` changes nothing worth a copy: no probe colour moves by over 2 of 255."""
    from PIL import Image

    if profile[16:20] != b"RGB ":
        return False
    probe = Image.new("RGB", (9, 9))
    probe.putdata([(32 * (n % 9) % 256, 32 * (n // 9) % 256, 29 * n % 256) for n in range(81)])
    converted = _through_profile(probe, profile)
    if converted is None:
        return True
    return all(abs(a - b) <= 2 for a, b in zip(probe.tobytes(), converted.tobytes(), strict=True))


def _has_srgb_profile(path: Path) -> bool:
    """Whether the profile embedded in the picture at `path` is sRGB, or cannot be read at all."""
    from PIL import Image

    try:
        with quiet_pillow(), Image.open(path) as picture:
            profile = picture.info.get("icc_profile")
            return profile is None or (picture.mode == "RGB" and _is_srgb(profile))
    except pillow_errors():
        return True
