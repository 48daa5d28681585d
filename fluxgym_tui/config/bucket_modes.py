"""Buckets on and buckets off: the two ways to fit pictures, each as the settings that belong together."""

from collections.abc import Mapping

from fluxgym_tui.config.values import Plain, read_whole


def buckets_on(resolution: tuple[int, int]) -> dict[str, object]:
    """What a dataset says where each picture keeps its shape: buckets, no enlarging, no resized copies."""
    return {
        "enable_bucket": True,
        "bucket_no_upscale": True,
        "max_bucket_reso": max(resolution),
        "resize": 0,
        "downscale_only": True,
    }


def buckets_off(resolution: tuple[int, int]) -> dict[str, object]:
    """What a dataset says where all pictures are cut to `resolution` (width, height): copies resized to its width."""
    return {"enable_bucket": False, "bucket_no_upscale": False, "resize": resolution[0], "downscale_only": False}


def resolution_of(values: Mapping[str, str]) -> tuple[int, int]:
    """Width and height from the words `width` and `height` of `values`; an empty or zero height is a square.

    Raises:
        ValueError: they are no whole numbers.
    """
    width = read_whole(Plain(values["width"]))
    height = read_whole(Plain(values["height"])) if values["height"].strip() else 0
    return width, height or width
