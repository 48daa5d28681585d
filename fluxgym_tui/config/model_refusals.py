"""Models of the FLUX family that cannot be trained as FLUX.1 is, told by their names."""

import re

_REFUSED: tuple[tuple[str, str], ...] = (
    (r"flux[._ -]?2|flux2|flux.*klein", "FLUX.2 is another architecture, which neither trainer here knows"),
    (r"kontext", "Kontext learns from pairs of pictures, which neither trainer here takes"),
    (r"flux.*\bfill\b|\bfill[._ -]?dev", "Fill has inputs for a mask, which neither trainer here gives it"),
    (
        r"flux.*\b(redux|canny|depth)\b|\b(redux|canny|depth)[._ -]dev",
        "it takes a picture as input, which neither trainer here gives it",
    ),
    (r"fp8_scaled|scaled_fp8", "a *_fp8_scaled file trains to noise; flux-dev-fp8 is one that trains"),
)


def refusal(name: str) -> str | None:
    """Why the model or file of that name cannot be trained here; None where nothing speaks against the name."""
    # A separator is no part of a word, so that `flux1-fill-dev` has the word fill.
    text = name.lower().replace("_", "-") if "fp8" not in name.lower() else name.lower()
    return next((reason for pattern, reason in _REFUSED if re.search(pattern, text)), None)
