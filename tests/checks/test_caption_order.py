"""Captions whose order changes: dataset.toml says so where they are encoded for every batch, and not elsewhere."""

from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.checks.run_files import dataset_config
from fluxgym_tui.checks.spec_plan import plan_spec
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.specfile import build_spec

UNCACHED = {"cache_text_encoder_outputs": False, "cache_text_encoder_outputs_to_disk": False}


def test_shuffling_reaches_the_dataset(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat, sitting\n", encoding="utf-8")
    for flags, expected in (
        ({**UNCACHED, "shuffle_caption": True, "keep_tokens": 2}, (True, 2)),
        ({}, (False, 1)),
    ):
        spec = build_spec({"name": "x", "trigger": "cat", "flags": flags, "dataset": {"path": tmp_path}})
        plan = plan_spec(spec, flags=effective_flags(spec, backend="builtin", vram="cpu"))
        (subset,) = dataset_config(spec, plan=plan, staged=tmp_path).subsets
        assert (subset.shuffle_caption, subset.keep_tokens) == expected


@pytest.mark.parametrize("half", [*UNCACHED])
def test_one_cache_forbids_it(tmp_path: Path, half: str) -> None:
    flags = {half: False, "shuffle_caption": True}
    with pytest.raises(FluxgymError, match="captions are cached as they are") as refused:
        build_spec({"name": "x", "flags": flags, "dataset": {"path": tmp_path}})
    assert "cache_text_encoder_outputs_to_disk to false" in str(refused.value.hint)
