"""What the smallest recipe does not hold is said before the start."""

import pytest

from fluxgym_tui.checks.recipe import recipe_findings
from fluxgym_tui.config.specfile import build_spec


@pytest.mark.parametrize(
    ("vram", "resolution", "samples", "codes"),
    [
        ("8G", 512, {}, []),
        ("8G", [448, 576], {}, []),
        ("8G", 768, {}, ["recipe_resolution"]),
        ("8G", 512, {"prompts": ["a"], "every_n_steps": 50}, ["recipe_samples"]),
        ("8G", 512, {"prompts": ["a"], "every_n_epochs": 1}, ["recipe_samples"]),
        ("8G", 512, {"prompts": ["a"]}, []),  # none are made
        ("10G", 1024, {"prompts": ["a"], "at_first": True}, []),
    ],
)
def test_a_spec_is_held_against_its_recipe(
    vram: str, resolution: object, samples: dict[str, object], codes: list[str]
) -> None:
    spec = build_spec(
        {
            "name": "x",
            "dataset": {"path": "/p", "resolution": resolution},
            "training": {"vram": vram},
            "samples": samples,
        }
    )
    assert [finding.code for finding in recipe_findings(spec, backend="kohya")] == codes
    assert recipe_findings(spec, backend="builtin") == []
