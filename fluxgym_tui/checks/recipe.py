"""What a VRAM recipe of sd-scripts does not hold: what a spec asks for beyond it."""

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.config.spec import TrainSpec

# The smallest recipe is one for pictures of this area, and has no room to make samples beside the training.
_SMALLEST = "8G"
_SMALLEST_AREA_PX = 512 * 512


def recipe_findings(spec: TrainSpec, *, backend: str) -> list[Finding]:
    """Warnings where `spec`, whose recipe is named, wants more than its recipe for `backend` is made for."""
    if backend != "kohya" or spec.training.vram != _SMALLEST:
        return []
    found = []
    width, height = spec.dataset.resolution
    if width * height > _SMALLEST_AREA_PX:
        found.append(
            Finding(
                code="recipe_resolution",
                severity=Severity.WARNING,
                title=f"8 GB hold a training at 512x512; this one is at {width}x{height}",
                fix="Set dataset.resolution: 512, or expect to run out of memory.",
            )
        )
    samples = spec.samples
    if samples.prompts and (samples.every_n_steps or samples.every_n_epochs or samples.at_first):
        found.append(
            Finding(
                code="recipe_samples",
                severity=Severity.WARNING,
                title="8 GB have no room to make sample pictures beside the training",
                fix="Take samples.prompts out, and try the LoRA when it is done.",
            )
        )
    return found
