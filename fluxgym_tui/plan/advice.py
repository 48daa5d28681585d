"""What a plan has to say about its pictures: crops, enlargements, lonely buckets, and what would mend them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import count
from fluxgym_tui.plan.buckets import BucketError, BucketFit, BucketSettings, Size, bucket_limits, check_flux_steps, fit
from fluxgym_tui.plan.parts import PlanDataset, PlannedBucket, PlannedImage

_TOLD_LOSS = 0.02  # a crop of less than 2% is the price of any bucket and not worth a line
_WARNED_LOSS = 0.10
# Above this, a higher resolution that leaves pictures as they are costs more than the resizing it saves.
_MOST_GROWTH = 2.0
_NAMED_SIZES = 6
_PACKED_PX = 16  # the transformer sees patches of 2x2 latent pixels of 8x8 picture pixels


def settings_findings(dataset: PlanDataset) -> list[Finding]:
    """What is wrong with the settings of `dataset`, whatever its pictures: an error where nothing can be trained."""
    settings = dataset.settings
    try:
        bucket_limits(settings)
        check_flux_steps(settings)
    except BucketError as error:
        return [_error("bucket_settings", error.message, error.hint)]
    if dataset.batch_size < 1:
        return [_error("batch_size", f"batch_size is {dataset.batch_size}", "use 1 or more")]
    if not settings.enable_bucket and any(side % _PACKED_PX for side in settings.resolution):
        return [_off_grid(settings.resolution)]
    return []


def no_bucket_finding(path: str, error: BucketError) -> Finding:
    """The finding for a picture that has no bucket: sd-scripts ends with an error at it."""
    return _error("no_bucket", error.message, error.hint, path=path)


def set_findings(images: Sequence[PlannedImage], *, left_out: Counter[int]) -> list[Finding]:
    """What the set as a whole lacks. `left_out` counts each dataset's regularisation pictures that are not used."""
    trained = [planned for planned in images if not planned.is_reg]
    findings = []
    if not trained:
        findings.append(
            _error("no_pictures", "there are no pictures to train", "add pictures (png, jpg, jpeg, webp, bmp)")
        )
    elif len(trained) == 1:
        findings.append(
            Finding(
                code="one_picture",
                severity=Severity.WARNING,
                title="there is only one picture",
                detail="the LoRA will repeat it rather than learn what it shows",
                fix="add more pictures: 10 to 30 different ones make a person or a thing",
                path=trained[0].image.path,
            )
        )
    findings += [
        Finding(
            code="regularisation_unused",
            severity=Severity.ADVICE,
            title=f"{count(number, 'regularisation picture')} of dataset {index + 1} "
            f"{'is' if number == 1 else 'are'} not used",
            detail="no more of them are trained than pictures with repeats",
            fix="take some out, or raise num_repeats of the others",
        )
        for index, number in sorted(left_out.items())
        if number
    ]
    return findings


def picture_findings(datasets: Sequence[PlanDataset], images: Sequence[PlannedImage]) -> list[Finding]:
    """What happens to the pictures of `datasets` that their owner may not expect; crops once for each size."""
    findings: list[Finding] = []
    for index, dataset in enumerate(datasets):
        mine = [planned for planned in images if planned.dataset == index]
        findings += _crops(dataset.settings, mine)
        findings += _enlarged(dataset.settings, mine)
        findings += _resolution_advice(dataset.settings, [planned.image.size for planned in mine])
    return findings


def bucket_findings(datasets: Sequence[PlanDataset], buckets: Sequence[PlannedBucket]) -> list[Finding]:
    """Buckets that do not fill a batch, or fill it with one picture only: one finding for all of a kind."""
    findings = []
    for index, dataset in enumerate(datasets):
        mine = [bucket for bucket in buckets if bucket.dataset == index]
        short = [bucket for bucket in mine if bucket.repeated < dataset.batch_size]
        alone = [bucket for bucket in mine if bucket.images == 1 and bucket.repeated >= dataset.batch_size > 1]
        findings += [_lonely(kind, dataset.batch_size) for kind in (short, alone) if kind]
    return findings


def fitting_sizes(width: int, height: int, settings: BucketSettings) -> list[Size]:
    """Sizes near `width` x `height` that would be trained without resizing or cropping, the best first, at most two.

    For settings without upscaling: sides on multiples of steps, within the resolution's area.
    """
    steps = settings.bucket_reso_steps
    choices = {
        (w, h)
        for w in (width - width % steps, width + -width % steps)
        for h in (height - height % steps, height + -height % steps)
        if w and h and w * h <= settings.area
    }

    def change(size: Size) -> tuple[float, Size]:
        wider, higher = math.log(size[0] / width), math.log(size[1] / height)
        # A changed aspect ratio means distorting or cropping the picture: worse than a changed size.
        return abs(wider) + abs(higher) + 4 * abs(wider - higher), size

    return sorted(choices, key=change)[:2]


def keeping_resolution(settings: BucketSettings, sizes: Iterable[Size]) -> tuple[int, list[Size]] | None:
    """The lowest square resolution at which pictures that lie on the grid, but are shrunk now, stay as they are.

    Returns its side and all of `sizes` that it keeps, or None where nothing would be won at a reasonable price.
    """
    steps, distinct = settings.bucket_reso_steps, list(dict.fromkeys(sizes))
    shrunk = [
        (width, height)
        for width, height in distinct
        if width % steps == 0 and height % steps == 0 and settings.area < width * height <= _MOST_GROWTH * settings.area
    ]
    if not shrunk:
        return None
    largest = max(width * height for width, height in shrunk)
    side = math.isqrt(largest - 1) + 1
    side += -side % steps
    kept = [size for size in distinct if size[0] % steps == 0 and size[1] % steps == 0 and math.prod(size) <= side**2]
    return side, kept


def trim_words(fitted: BucketFit) -> str:
    """What the crop takes from the resized picture: `top and bottom 128 px are cut`."""
    left, top, right, bottom = fitted.trimmed
    parts = [
        f"{first} and {second} {here} px" if here == there else f"{first} {here} and {second} {there} px"
        for first, here, second, there in (("left", left, "right", right), ("top", top, "bottom", bottom))
        if here or there
    ]
    return f"{', '.join(parts)} are cut" if parts else "nothing is cut"


def size_words(size: Size) -> str:
    """`768x1024`."""
    return f"{size[0]}x{size[1]}"


def list_words(words: Sequence[str], *, last: str = "and") -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _error(code: str, title: str, fix: str | None, *, path: str | None = None) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, title=title, fix=fix, path=path)


def _off_grid(resolution: Size) -> Finding:
    """The finding for a resolution that is trained as it stands, buckets being off, and is no multiple of 16."""
    near = size_words((_near_packed(resolution[0]), _near_packed(resolution[1])))
    # The autoencoder halves three times, rounding down; sd-scripts fails where what is left is odd.
    fails = any(side < _PACKED_PX or side // 8 % 2 for side in resolution)
    return Finding(
        code="resolution_off_grid",
        severity=Severity.ERROR if fails else Severity.WARNING,
        title=f"resolution {size_words(resolution)} does not divide into FLUX's patches of 16 pixels",
        detail=None if fails else "sd-scripts leaves out the last pixels; the built-in trainer does not take it",
        fix=f"use {near}, or turn enable_bucket on",
    )


def _near_packed(side: int) -> int:
    return max(_PACKED_PX, (side + _PACKED_PX // 2) // _PACKED_PX * _PACKED_PX)


def _by_size(images: Iterable[PlannedImage]) -> dict[Size, list[PlannedImage]]:
    groups: dict[Size, list[PlannedImage]] = {}
    for planned in images:
        groups.setdefault(planned.image.size, []).append(planned)
    return groups


def _crops(settings: BucketSettings, images: Sequence[PlannedImage]) -> list[Finding]:
    findings = []
    for size, group in _by_size(images).items():
        fitted = group[0].fit
        if fitted is None:
            continue
        cut_by_steps = settings.enable_bucket and settings.bucket_no_upscale and fitted.resized == size
        if fitted.lost < (1e-9 if cut_by_steps else _TOLD_LOSS):
            continue
        subject = size_words(size) if len(group) == 1 else f"{len(group):,} pictures of {size_words(size)}"
        verb = "is" if len(group) == 1 else "are"
        scaled = "" if fitted.resized == size else f"resized to {size_words(fitted.resized)} and "
        lost = f"{fitted.lost:.1%} lost"
        findings.append(
            Finding(
                code="cut_by_steps" if cut_by_steps else "cropped",
                severity=Severity.WARNING if fitted.lost >= _WARNED_LOSS else Severity.ADVICE,
                title=f"{subject} {verb} {scaled}cropped to {size_words(fitted.bucket)}, {lost}",
                detail=trim_words(fitted),
                fix=_crop_fix(size, settings, cut_by_steps=cut_by_steps),
                path=group[0].image.path,
            )
        )
    return findings


def _crop_fix(size: Size, settings: BucketSettings, *, cut_by_steps: bool) -> str:
    if not settings.enable_bucket:
        return "press b for buckets (enable_bucket)"
    if not cut_by_steps:
        return "crop the picture yourself if the edges matter"
    fits = [size_words(fitting) for fitting in fitting_sizes(*size, settings)]
    steps = settings.bucket_reso_steps
    return (
        f"a picture under the resolution's area is cut to multiples of {steps}: {list_words(fits, last='or')} would fit"
    )


def _enlarged(settings: BucketSettings, images: Sequence[PlannedImage]) -> list[Finding]:
    fix = "use a larger picture or a lower resolution"
    if settings.enable_bucket:
        fix += ", or bucket_no_upscale"
    return [
        Finding(
            code="upscaled",
            severity=Severity.ADVICE,
            title=f"{size_words(planned.image.size)} is scaled up {planned.enlarged:.2f} times",
            detail=f"to {size_words(planned.fit.resized)}: it will look soft beside the others",
            fix=fix,
            path=planned.image.path,
        )
        for planned in images
        if planned.fit is not None and planned.enlarged > 1
    ]


def _resolution_advice(settings: BucketSettings, sizes: Sequence[Size]) -> list[Finding]:
    if not (settings.enable_bucket and settings.bucket_no_upscale):
        return []
    found = keeping_resolution(settings, sizes)
    if found is None:
        return []
    side, kept = found
    words = [size_words(size) for size in kept[:_NAMED_SIZES]]
    if len(kept) > _NAMED_SIZES:
        words.append(count(len(kept) - _NAMED_SIZES, "more size"))
    first = next(size for size in kept if math.prod(size) > settings.area)
    becomes = fit(*first, settings)
    return [
        Finding(
            code="resolution_keeps",
            severity=Severity.ADVICE,
            title=f"resolution {side} keeps {list_words(words)} as {'it is' if len(kept) == 1 else 'they are'}",
            detail=f"now {size_words(first)} is resized to {size_words(becomes.resized)}, "
            f"bucket {size_words(becomes.bucket)}",
            fix=f"set resolution to {side}: a step then takes up to {side**2 / settings.area:.2f} times the pixels",
        )
    ]


def _lonely(buckets: Sequence[PlannedBucket], batch_size: int) -> Finding:
    """The finding for `buckets` that all hold less than a batch, or that all hold one picture again and again."""
    first, several = buckets[0], len(buckets) > 1
    names = [size_words(bucket.size) for bucket in buckets[:_NAMED_SIZES]]
    if len(buckets) > _NAMED_SIZES:
        names.append(f"{len(buckets) - _NAMED_SIZES:,} more")
    if first.repeated < batch_size:
        what = (
            f"none fills a batch of {batch_size}"
            if several
            else f"its only batch has {count(first.repeated, 'picture')} instead of {batch_size}"
        )
    elif several:
        what = "the batches of each hold one picture over and over"
    else:
        what = f"its {count(first.batches, 'batch holds', 'batches hold')} one picture over and over"
    one_picture = all(bucket.repeated == 1 for bucket in buckets)
    return Finding(
        code="lonely_bucket",
        severity=Severity.WARNING,
        title=f"lonely bucket{'s' if several else ''} {list_words(names)}: {what}",
        detail="pictures share a batch only within a bucket" + (": a one-picture batch" if one_picture else ""),
        fix="crop such pictures to the shape of a fuller bucket, add more of that shape, or use batch_size 1",
    )
