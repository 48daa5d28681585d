"""After an out-of-memory error: the same spec by the next smaller recipe."""

import pytest

from fluxgym_tui.config.settings_flags import effective_flags, resolve_spec
from fluxgym_tui.config.smaller import smaller_recipe, smaller_spec
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec


def spec_of(vram: str, *, backend: str = "kohya", side: int = 512) -> TrainSpec:
    training = {"vram": vram, "learning_rate": 1e-4}
    dataset = {"path": "/photos", "resolution": [side, side]}
    flags = {"noise_offset": 0.1}
    return build_spec({"name": "x", "backend": backend, "dataset": dataset, "training": training, "flags": flags})


@pytest.mark.parametrize(
    ("vram", "side", "smaller"),
    [
        ("80G", 512, "24G"),  # 48 and 40 have the same recipe
        ("24G", 512, "16G"),
        ("16G", 512, "12G"),
        ("16G", 1024, "12G"),
        ("12G", 512, "10G"),
        ("10G", 512, "8G"),
    ],
)
def test_a_resolved_spec_becomes_that_of_the_next_smaller_recipe(vram: str, side: int, smaller: str) -> None:
    spec = spec_of(vram, side=side)
    made = smaller_spec(resolve_spec(spec, backend="kohya", vram=vram))
    assert made is not None
    assert made.training.vram == smaller
    plain = spec_of(smaller, side=side)
    assert effective_flags(made, backend="kohya", vram=smaller) == effective_flags(plain, backend="kohya", vram=smaller)


@pytest.mark.parametrize(("vram", "backend"), [("8G", "kohya"), ("cpu", "kohya"), ("8G", "builtin")])
def test_there_may_be_none_smaller(vram: str, backend: str) -> None:
    assert smaller_recipe(spec_of(vram, backend=backend)) is None
    assert smaller_spec(spec_of(vram, backend=backend)) is None
