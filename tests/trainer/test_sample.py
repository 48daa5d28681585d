"""Samples come from FLUX's schedule, follow the reference, and lie under sd-scripts' names."""

from datetime import datetime
from pathlib import Path

import pytest
import torch
from PIL import Image

from fluxgym_tui.base.prompts import parse_prompt
from fluxgym_tui.trainer.autoencoder import Autoencoder, AutoencoderGeometry
from fluxgym_tui.trainer.sample import (
    Conditioning,
    decode_picture,
    denoise,
    sample_latents,
    sample_path,
    sigma_schedule,
)
from tests.trainer.parity import description, relative, tiny_flux, vectors

pytestmark = pytest.mark.usefixtures("one_thread")


def conditioning(index: int, *, mask: bool = False) -> Conditioning:
    forward, own = vectors("forward"), slice(index, index + 1)
    return Conditioning(
        t5_out=forward["txt"][own],
        txt_ids=forward["txt_ids"][own],
        l_pooled=forward["y"][own],
        t5_attn_mask=forward["txt_attention_mask"][own] if mask else None,
    )


@pytest.mark.parametrize(("steps", "tokens"), [(4, 48), (20, 1024), (20, 4096)])
def test_the_schedule_is_the_reference(steps: int, tokens: int) -> None:
    expected = description()[f"schedule_{steps}steps_{tokens}tokens"]
    assert sigma_schedule(steps, tokens=tokens) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("negative", "name"), [(None, "denoise_out"), (1, "denoise_cfg_out")])
def test_denoising_is_the_reference(negative: int | None, name: str) -> None:
    forward = vectors("forward")
    with torch.no_grad():
        states = list(
            denoise(
                tiny_flux(),
                forward["denoise_noise"],
                positions=forward["img_ids"][:1],
                positive=conditioning(0),
                negative=None if negative is None else conditioning(negative),
                sigmas=sigma_schedule(4, tokens=48),
                guidance_scale=3.5,
                cfg_scale=2.5,
            )
        )
    assert len(states) == 4
    assert relative(states[-1], forward[name]) < 1e-5


def last(line: str, *, mask: bool = False) -> torch.Tensor:
    *_, latents = sample_latents(
        tiny_flux(), parse_prompt(line), positive=conditioning(0, mask=mask), negative=conditioning(1, mask=mask)
    )
    return latents


def test_a_seed_makes_the_same_picture_again_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = last("a --w 80 --h 64 --d 7 --s 3")
    assert torch.equal(torch.rand(3), expected)
    assert first.shape == (1, 16, 8, 10)
    assert torch.equal(first, last("a --w 80 --h 64 --d 7 --s 3"))
    assert not torch.equal(first, last("a --w 80 --h 64 --d 8 --s 3"))
    assert not torch.equal(last("a --w 64 --h 64 --s 1"), last("a --w 64 --h 64 --s 1")), "no seed: a new one"


def test_guidance_negative_and_mask_count() -> None:
    plain = last("a --w 64 --h 64 --d 7 --s 2")
    for other in ("--g 1", "--l 3"):
        assert relative(last(f"a --w 64 --h 64 --d 7 --s 2 {other}"), plain) > 1e-3, other
    assert relative(last("a --w 64 --h 64 --d 7 --s 2", mask=True), plain) > 1e-3
    assert (
        relative(last("a --w 64 --h 64 --d 7 --s 2 --l 3", mask=True), last("a --w 64 --h 64 --d 7 --s 2 --l 3")) > 1e-3
    )


def test_a_latent_becomes_a_picture() -> None:
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderGeometry(level_channels=(32, 32, 32, 32), num_res_blocks=1))
    picture = decode_picture(autoencoder, torch.zeros(1, 16, 6, 8))
    assert isinstance(picture, Image.Image)
    assert (picture.size, picture.mode) == ((64, 48), "RGB")


def test_names_are_sd_scripts_own(tmp_path: Path) -> None:
    now = datetime(2026, 1, 31, 23, 59, 58).astimezone()
    path = sample_path(tmp_path, output_name="cat", prompt_index=1, seed=42, step=100, now=now)
    assert path == tmp_path / "cat_000100_01_20260131235958_42.png"
    path = sample_path(tmp_path, output_name="cat", prompt_index=0, seed=None, step=100, epoch=4, now=now)
    assert path == tmp_path / "cat_e000004_00_20260131235958.png"
    path = sample_path(tmp_path, output_name=None, prompt_index=0, seed=7, step=100, now=now)
    assert path == tmp_path / "000100_00_20260131235958_7.png"
