"""Captions that lack the trigger: finding them, and putting it in when the user asks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.base.text import count
from fluxgym_tui.dataset.captions import read_caption, write_caption
from fluxgym_tui.dataset.problems import problem
from fluxgym_tui.dataset.scanned import ScannedImage

_NAMED: Final = 3


def has_trigger(caption: str, trigger: str) -> bool:
    """Whether `caption` holds `trigger`, in any case of letters and however its words are spaced."""
    return " ".join(trigger.split()).casefold() in " ".join(caption.split()).casefold()


def without_trigger(images: Iterable[ScannedImage], *, trigger: str) -> list[ScannedImage]:
    """The pictures whose own captions lack `trigger`. Pictures without a caption get the trigger as theirs."""
    return [image for image in images if image.caption is not None and not has_trigger(image.caption, trigger)]


def missing_trigger(images: Iterable[ScannedImage], *, trigger: str) -> Finding | None:
    """One finding for all captions that lack `trigger`, None where none does."""
    files = [image.caption_file or image.file for image in without_trigger(images, trigger=trigger)]
    if not files:
        return None
    names = ", ".join(files[:_NAMED]) + (", …" if len(files) > _NAMED else "")
    return problem("no_trigger", detail=f"{count(len(files), 'caption')} without “{trigger}”: {names}")


def add_trigger(caption: Path, *, trigger: str) -> bool:
    """Put `trigger` before the first line of the file `caption`, in UTF-8; whether it was missing.

    Further lines stay, untrained as they were. OSError as the system raises it.
    """
    text = read_caption(caption).text
    if has_trigger(text.partition("\n")[0], trigger):
        return False
    words = text.lstrip()
    write_caption(caption, f"{trigger}, {words}" if words else trigger)
    return True
