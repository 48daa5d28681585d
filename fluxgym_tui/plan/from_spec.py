"""Bucket settings of a spec: what sd-scripts would refuse is mended, and said."""

from collections.abc import Sequence

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.plan.buckets import FLUX_RESO_STEPS, BucketError, BucketSettings, Size


def bucket_settings(
    resolution: int | Sequence[int],
    *,
    enable_bucket: bool = True,
    min_bucket_reso: int = 256,
    max_bucket_reso: int = 1024,
    bucket_reso_steps: int = 64,
    bucket_no_upscale: bool = True,
) -> tuple[BucketSettings, list[Finding]]:
    """The settings for a spec's dataset, and a finding for each that had to be changed to train FLUX.

    `resolution` is one number, or width and height, of which 0 means "as the other": a square. Steps go up to a
    multiple of 64; `min_bucket_reso` and `max_bucket_reso` move as far as the resolution needs, not farther.

    Raises:
        BucketError: the resolution has no side above 0, or more than two.
    """
    size = _pair(resolution)
    findings = []
    if enable_bucket and (bucket_reso_steps < 1 or bucket_reso_steps % FLUX_RESO_STEPS):
        steps = max(FLUX_RESO_STEPS, bucket_reso_steps + -bucket_reso_steps % FLUX_RESO_STEPS)
        why = f"FLUX needs multiples of {FLUX_RESO_STEPS}"
        findings.append(_mended("bucket_reso_steps", bucket_reso_steps, steps, why))
        bucket_reso_steps = steps
    lowest, highest = min_bucket_reso - min_bucket_reso % bucket_reso_steps, max(size)
    if enable_bucket and lowest > min(size):
        why = f"the resolution's shorter side is {min(size)}"
        mended = max(bucket_reso_steps, min(size) - min(size) % bucket_reso_steps)
        findings.append(_mended("min_bucket_reso", min_bucket_reso, mended, why))
        min_bucket_reso = mended
    if enable_bucket and max_bucket_reso + -max_bucket_reso % bucket_reso_steps < highest:
        why = f"the resolution's longer side is {highest}"
        mended = highest + -highest % bucket_reso_steps
        findings.append(_mended("max_bucket_reso", max_bucket_reso, mended, why))
        max_bucket_reso = mended
    settings = BucketSettings(
        size,
        enable_bucket=enable_bucket,
        min_bucket_reso=min_bucket_reso,
        max_bucket_reso=max_bucket_reso,
        bucket_reso_steps=bucket_reso_steps,
        bucket_no_upscale=bucket_no_upscale,
    )
    return settings, findings


def _pair(resolution: int | Sequence[int]) -> Size:
    sides = [resolution] if isinstance(resolution, int) else list(resolution)
    longest = max(sides, default=0)
    if len(sides) > 2 or longest < 1 or min(sides) < 0:
        raise BucketError(
            f"resolution {resolution} is no size",
            hint="write one number for a square, or [width, height] in pixels, as [768, 1024]",
        )
    return sides[0] or longest, sides[-1] or longest


def _mended(name: str, before: int, after: int, why: str) -> Finding:
    return Finding(
        code=f"{name}_mended",
        severity=Severity.ADVICE,
        title=f"{name} is {after} instead of {before}",
        detail=why,
        fix=f"write {name}: {after} to say so yourself",
    )
