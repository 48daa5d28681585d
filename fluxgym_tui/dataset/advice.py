"""What is worth knowing about pictures before they are staged, told once for each kind of thing."""

from collections.abc import Callable, Sequence
from typing import Final

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.base.text import count
from fluxgym_tui.dataset.pixels import needs_copy
from fluxgym_tui.dataset.problems import problem
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.dataset.triggers import missing_trigger

_KINDS: Final[tuple[tuple[str, Callable[[ScannedImage], bool]], ...]] = (
    ("turned_upright", lambda image: image.orientation != 1),
    ("alpha_on_white", lambda image: "alpha" in image.traits),
    ("colours_converted", lambda image: "icc" in image.traits or "cmyk" in image.traits),
    ("bits_reduced", lambda image: "deep" in image.traits),
)
_NAMED: Final = 3


def staging_advice(
    images: Sequence[ScannedImage],
    *,
    trigger: str | None,
    resize: int = 0,
    downscale_only: bool = True,
    keep_alpha: bool = False,
) -> list[Finding]:
    """What staging these pictures will do that one may not expect, and whether captions lack the trigger."""
    copied = [image for image in images if needs_copy(image, resize=resize, downscale_only=downscale_only)]
    notes = copy_notes(copied, keep_alpha=keep_alpha)
    missing = missing_trigger(images, trigger=trigger) if trigger else None
    return notes if missing is None else [missing, *notes]


def copy_notes(copied: Sequence[ScannedImage], *, keep_alpha: bool = False) -> list[Finding]:
    """One finding for each kind of change among the pictures in `copied`, with their number and the first names."""
    notes = []
    for code, concerns in _KINDS:
        if keep_alpha and code == "alpha_on_white":
            continue
        files = [image.file for image in copied if concerns(image)]
        if files:
            names = ", ".join(files[:_NAMED]) + (", …" if len(files) > _NAMED else "")
            notes.append(problem(code, detail=f"{count(len(files), 'picture')}: {names}"))
    return notes
