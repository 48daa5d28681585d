"""Pictures as the autoencoder takes them: read, scaled as sd-scripts scales, cropped, in [-1, 1]."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.plan.buckets import BucketFit

Pixels = npt.NDArray[np.uint8]  # (height, width, 3 or 4), RGB and perhaps alpha


def load_pixels(path: Path, fit: BucketFit, *, alpha: bool = False) -> tuple[Tensor, Tensor | None]:
    """The picture at `path` scaled and cropped as `fit` says: float32 (3, bucket height, bucket width) in [-1, 1].

    With `alpha` its transparency too, (bucket height, bucket width) from 0 to 1; 1 everywhere where it has none.
    FluxgymError where it cannot be decoded. Its EXIF orientation is not applied, as in sd-scripts: staging does that.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGBA" if alpha else "RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise FluxgymError(
            f"{path}: the picture cannot be decoded: {error}", hint="Replace it or take it out of the dataset."
        ) from error
    scaled = resize(pixels, width=fit.resized[0], height=fit.resized[1])
    left, top, right, bottom = fit.crop
    cropped = np.array(scaled[top:bottom, left:right])  # a copy: Pillow lends its pixels for reading only
    channels = torch.from_numpy(cropped).permute(2, 0, 1).float()
    return channels[:3] / 127.5 - 1, channels[3] / 255 if alpha else None


def resize(pixels: Pixels, *, width: int, height: int) -> Pixels:
    """`pixels` at `width` x `height`: by area means where neither side grows, else by Lanczos, as sd-scripts."""
    rows, columns = pixels.shape[:2]
    if (columns, rows) == (width, height):
        return pixels
    if columns >= width and rows >= height:
        means = _area_means(_area_means(pixels, height).transpose(1, 0, 2), width).transpose(1, 0, 2)
        return np.rint(means).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def _area_means(pixels: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.float64]:
    """The first axis averaged over `count` intervals of equal length, which may cut its entries: OpenCV's INTER_AREA.

    A mean is the whole entries of its interval, less what its first edge cuts off, plus what its last edge takes in.
    """
    length = pixels.shape[0]
    edges = np.arange(count + 1) * (length / count)
    first = np.minimum(edges.astype(np.int64), length - 1)
    inside = (edges - first)[:, None, None]
    inside[-1] = 0
    exact = np.uint32 if pixels.dtype == np.uint8 else np.float64  # whole numbers are summed ten times faster
    whole = np.add.reduceat(pixels, first[:-1], axis=0, dtype=exact)
    cut = pixels[first] * inside
    means: npt.NDArray[np.float64] = (whole - cut[:-1] + cut[1:]) * (count / length)
    return means
