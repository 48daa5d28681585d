"""Which size each picture is trained at: sd-scripts' buckets, resizing and cropping, as pure arithmetic.

The rules are those of kohya-ss/sd-scripts at 48d368fa; 3,482 of its own answers are in tests/data/buckets.csv.gz.
Sizes are (width, height) in pixels.
"""

import math
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

from fluxgym_tui.base.errors import FluxgymError

Size = tuple[int, int]
Box = tuple[int, int, int, int]

FLUX_RESO_STEPS = 64  # sd-scripts refuses bucket_reso_steps that are no multiple of it when it trains FLUX


class BucketError(FluxgymError):
    """These settings, or this picture under them, have no bucket: sd-scripts raises, or a side would be 0."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """How a dataset is bucketed, by sd-scripts' names; `resolution` is (width, height).

    The defaults are those of a new spec. sd-scripts' own differ in one: there `bucket_no_upscale` is off.
    """

    resolution: Size
    _: KW_ONLY
    enable_bucket: bool = True
    min_bucket_reso: int = 256
    max_bucket_reso: int = 1024
    bucket_reso_steps: int = 64
    bucket_no_upscale: bool = True

    @property
    def area(self) -> int:
        """The pixel area that buckets are made for."""
        return self.resolution[0] * self.resolution[1]


@dataclass(frozen=True, slots=True)
class BucketFit:
    """What becomes of one picture: it is scaled to `resized`, then `crop` is cut out of that, of the size `bucket`.

    `crop` is (left, top, right, bottom) in the resized picture's pixels.
    """

    bucket: Size
    resized: Size
    crop: Box

    @property
    def lost(self) -> float:
        """The share of the resized picture that the crop cuts away, 0 to 1."""
        return 1 - (self.bucket[0] * self.bucket[1]) / (self.resized[0] * self.resized[1])

    @property
    def trimmed(self) -> Box:
        """Pixels cut from the resized picture's (left, top, right, bottom)."""
        left, top, right, bottom = self.crop
        return left, top, self.resized[0] - right, self.resized[1] - bottom


def fit(width: int, height: int, settings: BucketSettings) -> BucketFit:
    """The bucket, resized size and crop of a picture of `width` x `height` pixels.

    Steps may be anything from 1: what FLUX asks of them is `check_flux_steps`.

    Raises:
        BucketError: sd-scripts raises for these settings or this picture, or a side of the bucket is 0.
    """
    if width < 1 or height < 1:
        raise BucketError(f"a picture of {width}x{height} pixels has no bucket", hint="leave the picture out")
    limits = bucket_limits(settings)
    if not settings.enable_bucket:
        bucket = settings.resolution
        resized = _cover(width, height, bucket)
    elif settings.bucket_no_upscale:
        resized = _shrunk(width, height, settings)
        bucket = _floored(resized, settings.bucket_reso_steps)
        if 0 in bucket:
            raise _too_thin(width, height, resized, settings.bucket_reso_steps)
    else:
        bucket = _nearest(width, height, _choices(settings.resolution, *limits, settings.bucket_reso_steps))
        resized = _cover(width, height, bucket)
    left, top = (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2
    return BucketFit(bucket, resized, (left, top, left + bucket[0], top + bucket[1]))


def bucket_limits(settings: BucketSettings) -> Size:
    """`min_bucket_reso` rounded down and `max_bucket_reso` rounded up to steps, as (min, max).

    Raises:
        BucketError: the settings are none that sd-scripts takes: a side of the resolution outside the limits.
    """
    lowest, highest, steps = settings.min_bucket_reso, settings.max_bucket_reso, settings.bucket_reso_steps
    short, long = min(settings.resolution), max(settings.resolution)
    if short < 1:
        raise BucketError(f"resolution {_by(settings.resolution)} has no area", hint="give both sides, in pixels")
    if not settings.enable_bucket:
        return lowest, highest
    if steps < 1:
        raise BucketError(f"bucket_reso_steps is {steps}", hint="use 64, or a multiple of it")
    lowest -= lowest % steps
    highest += -highest % steps
    if short < lowest:
        raise BucketError(
            f"min_bucket_reso {lowest} is above the resolution {_by(settings.resolution)}",
            hint=f"lower min_bucket_reso to {short} or less, or raise the resolution",
        )
    if long > highest:
        raise BucketError(
            f"max_bucket_reso {highest} is below the resolution {_by(settings.resolution)}",
            hint=f"raise max_bucket_reso to {long} or more, or lower the resolution",
        )
    return lowest, highest


def check_flux_steps(settings: BucketSettings) -> None:
    """Whether sd-scripts would train FLUX with these steps; where buckets are off it does not look at them.

    Raises:
        BucketError: `bucket_reso_steps` is no multiple of 64.
    """
    if settings.enable_bucket and settings.bucket_reso_steps % FLUX_RESO_STEPS:
        raise BucketError(
            f"bucket_reso_steps is {settings.bucket_reso_steps}; FLUX needs a multiple of {FLUX_RESO_STEPS}",
            hint=f"set bucket_reso_steps to {FLUX_RESO_STEPS}",
        )


def bucket_sizes(settings: BucketSettings) -> tuple[Size, ...]:
    """The buckets that pictures are sorted into, by width and height; empty where each picture makes its own.

    Raises:
        BucketError: as `fit`.
    """
    limits = bucket_limits(settings)
    if not settings.enable_bucket:
        return (settings.resolution,)
    if settings.bucket_no_upscale:
        return ()
    return tuple(size for _, size in _choices(settings.resolution, *limits, settings.bucket_reso_steps))


def stored_crop(width: int, height: int, bucket: Size) -> tuple[float, float, float, float]:
    """What sd-scripts' latent caches call `crop_ltrb`: where the whole picture would lie if fitted into `bucket`.

    (left, top, right, bottom) in the bucket's pixels. It is not the crop that is trained: that is `BucketFit.crop`.
    """
    aspect = width / height
    inner_width: float
    inner_height: float
    if bucket[0] / bucket[1] > aspect:
        inner_width, inner_height = bucket[1] * aspect, bucket[1]
    else:
        inner_width, inner_height = bucket[0], bucket[0] / aspect
    left, top = (bucket[0] - inner_width) // 2, (bucket[1] - inner_height) // 2
    return left, top, left + inner_width, top + inner_height


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _too_thin(width: int, height: int, resized: Size, steps: int) -> BucketError:
    became = "" if resized == (width, height) else f", scaled to {_by(resized)},"
    return BucketError(
        f"a picture of {width}x{height}{became} is thinner than {steps} pixels and has no bucket",
        hint=f"leave it out, or make its shorter side at least {steps} pixels at this resolution",
    )


def _cover(width: int, height: int, bucket: Size) -> Size:
    """The picture scaled, up or down, until it just covers `bucket`."""
    scale = bucket[1] / height if width / height > bucket[0] / bucket[1] else bucket[0] / width
    return _rounded(width * scale), _rounded(height * scale)


def _rounded(value: float) -> int:
    return int(value + 0.5)


def _floored(size: Size, steps: int) -> Size:
    return size[0] - size[0] % steps, size[1] - size[1] % steps


def _shrunk(width: int, height: int, settings: BucketSettings) -> Size:
    """The picture as it is, or scaled down to the area with one side on a multiple of steps.

    Of the two ways (width or height on the multiple) the one whose bucket keeps the aspect ratio better wins.
    """
    area, steps = settings.area, settings.bucket_reso_steps
    if width * height <= area:
        return width, height
    aspect = width / height
    wanted_width = math.sqrt(area * aspect)
    on_width = _on_steps(wanted_width, steps)
    on_height = _on_steps(area / wanted_width, steps)
    other_height, other_width = _on_steps(on_width / aspect, steps), _on_steps(on_height * aspect, steps)
    if other_height == 0 or on_height == 0:
        raise _too_thin(width, height, (_rounded(wanted_width), _rounded(area / wanted_width)), steps)
    if abs(on_width / other_height - aspect) < abs(other_width / on_height - aspect):
        return on_width, _rounded(on_width / aspect)
    return _rounded(on_height * aspect), on_height


def _on_steps(value: float, steps: int) -> int:
    whole = _rounded(value)
    return whole - whole % steps


def _nearest(width: int, height: int, choices: tuple[tuple[float, Size], ...]) -> Size:
    """The picture's own size where that is a bucket, else the first with the nearest aspect ratio."""
    own = (width, height)
    if any(size == own for _, size in choices):
        return own
    aspect = width / height
    return min(choices, key=lambda choice: abs(choice[0] - aspect))[1]


@lru_cache(maxsize=64)
def _choices(resolution: Size, lowest: int, highest: int, steps: int) -> tuple[tuple[float, Size], ...]:
    """Every bucket of the resolution's area with its aspect ratio, sorted by width and height."""
    area = resolution[0] * resolution[1]
    side = int(math.sqrt(area) // steps) * steps
    if side == 0 or lowest == 0:
        raise BucketError(
            f"steps of {steps} pixels leave no buckets for the resolution {_by(resolution)} from {lowest} pixels on",
            hint="lower bucket_reso_steps, or raise min_bucket_reso and the resolution",
        )
    sizes = {(side, side)}
    for width in range(lowest, highest + 1, steps):
        height = min(highest, area // width // steps * steps)
        if height >= lowest:
            sizes |= {(width, height), (height, width)}
    return tuple((width / height, (width, height)) for width, height in sorted(sizes))
