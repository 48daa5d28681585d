"""The keys of the VRAM recipes, and which one fits a memory size."""

import re

VRAM_KEYS = ("auto", "cpu", "8G", "10G", "12G", "16G", "20G", "24G", "40G", "48G", "80G")


def vram_key(text: str) -> str | None:
    """The recipe key that `text` names, as `24G`, `24g`, `24GB` or `24`; None if there is none."""
    match = re.fullmatch(r"(auto|cpu)|(\d+)\s*(?:g|gb|gib)?", text.strip().lower())
    if match is None:
        return None
    key = match[1] or f"{match[2]}G"
    return key if key in VRAM_KEYS else None


def vram_for(memory_gib: float | None) -> str:
    """The largest recipe that fits a GPU of `memory_gib`; `cpu` where there is none, the smallest where none fits.

    Cards report a little less than they are sold as (a 24 GB card 23.6 GiB), hence the rounding up.
    """
    if memory_gib is None:
        return "cpu"
    sizes = sorted(int(key[:-1]) for key in VRAM_KEYS if key.endswith("G"))
    fitting = [size for size in sizes if size <= memory_gib + 1]
    return f"{fitting[-1] if fitting else sizes[0]}G"
