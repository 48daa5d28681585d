"""Bytes on disk against files that kohya wrote."""

import pytest

from fluxgym_tui.plan.sizes import (
    CLIP_L,
    ClipShape,
    FluxShape,
    clip_linears,
    latent_cache_bytes,
    lora_file_bytes,
    lora_linears,
    lora_tensor_bytes,
    text_cache_bytes,
)

TINY = FluxShape(double_blocks=2, single_blocks=2, hidden=64)
TINY_CLIP = ClipShape(layers=2, hidden=32, intermediate=64)


def test_flux_1_has_304_modules_and_clip_l_72() -> None:
    assert len(lora_linears()) == 304
    assert len(clip_linears(CLIP_L)) == 72


@pytest.mark.parametrize(("train_clip_l", "tensors", "file_bytes"), [(True, 114, 90348), (False, 78, 78724)])
def test_files_that_kohya_wrote_for_a_tiny_model(train_clip_l: bool, tensors: int, file_bytes: int) -> None:
    linears = lora_linears(TINY) + (clip_linears(TINY_CLIP) if train_clip_l else [])
    assert len(linears) * 3 == tensors
    estimate = lora_file_bytes(network_dim=4, shape=TINY, train_clip_l=train_clip_l, clip=TINY_CLIP)
    assert abs(estimate - file_bytes) < 4000


def test_the_tensors_of_a_real_lora() -> None:
    # 19 x 2 x (21,504 + 12,288 + 6,144 + 15,360 + 15,360) + 38 x (24,576 + 18,432 + 12,288) sides, and 304 alphas
    assert lora_tensor_bytes(lora_linears(), network_dim=16) == 2 * (16 * 4_786_176 + 304)
    assert lora_file_bytes(network_dim=16, value_bytes=4) == pytest.approx(4 * 16 * 4_786_176, rel=0.01)


def test_caches() -> None:
    assert latent_cache_bytes((768, 1024)) == 16 * 96 * 128 * 4
    assert latent_cache_bytes((768, 1024), flipped=True) == 2 * latent_cache_bytes((768, 1024))
    assert text_cache_bytes() == pytest.approx(8.4e6, rel=0.01)
