"""The tiny base in examples/tiny-flux is what its README says, and takes the way of a real FLUX."""

import json
import random
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from torch import Tensor

from fluxgym_tui.base.prompts import parse_prompt
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.trainer.autoencoder import Autoencoder, load_autoencoder
from fluxgym_tui.trainer.flow import FlowBatch, FlowSettings, flow_losses
from fluxgym_tui.trainer.flux import Flux, load_flux
from fluxgym_tui.trainer.sample import Conditioning, decode_picture, sample_latents
from fluxgym_tui.trainer.text import TextEncoders, load_text_encoders

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = bundled("examples/tiny-flux")
PHOTOS = bundled("examples/photos")
MIB = 2**20


@cache
def transformer() -> Flux:
    return load_flux(TINY / "flux1-tiny.safetensors")


@cache
def autoencoder() -> Autoencoder:
    return load_autoencoder(TINY / "ae.safetensors")


@cache
def texts() -> TextEncoders:
    return load_text_encoders(
        clip_l=TINY / "clip_l.safetensors",
        t5xxl=TINY / "t5xxl.safetensors",
        max_tokens=64,
        tokenizer_cache_dir=TINY / "tokenizers",
    )


def to_tensor(image: Image.Image) -> Tensor:
    """(1, 3, H, W) in [-1, 1]."""
    data = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return data.view(1, image.height, image.width, 3).permute(0, 3, 1, 2).float() / 127.5 - 1


def photo(name: str) -> Tensor:
    """A square of 256 px from the middle of a photograph."""
    with Image.open(PHOTOS / name) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.convert("RGB").crop((left, top, left + side, top + side))
    return to_tensor(square.resize((256, 256), Image.Resampling.BOX))


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) <= 12 * MIB


def test_its_parts_load_and_fit_each_other() -> None:
    geometry = transformer().geometry
    encoded = texts().encode(["a red circle on a blue background"])
    assert encoded["t5_out"].shape == (1, 64, geometry.context_in_dim)
    assert encoded["l_pooled"].shape == (1, geometry.vec_in_dim)
    assert geometry.in_channels == 4 * autoencoder().geometry.z_channels
    assert geometry.guidance_embed
    assert autoencoder().geometry.downscale == 8


def test_every_weight_is_finite() -> None:
    parts = (transformer(), autoencoder(), texts().clip, texts().t5)
    assert all(torch.isfinite(parameter).all() for part in parts for parameter in part.parameters())


@pytest.mark.parametrize("name", ["coffee.jpg", "palace.jpg", "astronaut.jpg"])
def test_photographs_come_through_the_autoencoder(name: str) -> None:
    image = photo(name)
    with torch.no_grad():
        latents = autoencoder().encode(image, eps=torch.zeros(1, 16, 32, 32))
        decoded = autoencoder().decode(latents).clamp(-1, 1)
    assert 10 * torch.log10(4 / (decoded - image).square().mean()) > 20
    assert abs(latents.mean()) < 0.5
    assert 0.6 < latents.std() < 1.6


def test_the_sidecars_say_what_no_tensor_says() -> None:
    assert json.loads((TINY / "flux1-tiny.json").read_text(encoding="utf-8")) == {"axes_dim": [8, 12, 12]}
    assert json.loads((TINY / "ae.json").read_text(encoding="utf-8")) == {"norm_groups": 4}


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script's own drawings."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    return import_module("tiny_flux.drawings")


def test_captions_are_followed(drawing: ModuleType) -> None:
    rng = random.Random(2)
    drawings = [drawing.draw(rng) for _ in range(12)]
    with torch.no_grad():
        images = torch.cat([to_tensor(drawn.image) for drawn in drawings])
        latents = autoencoder().encode(images, eps=torch.zeros(12, 16, 16, 16))
        encoded = texts().encode([drawn.caption for drawn in drawings])
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))

        def loss(order: list[int]) -> float:
            batch = FlowBatch(
                latents=latents,
                t5_out=encoded["t5_out"][order],
                txt_ids=encoded["txt_ids"],
                l_pooled=encoded["l_pooled"][order],
                t5_attn_mask=encoded["t5_attn_mask"],
                loss_weights=torch.ones(12),
            )
            settings = FlowSettings(model_prediction_type="raw", guidance_scale=1.0)
            losses = flow_losses(
                transformer(), batch=batch, noise=noise, sigmas=torch.full((12,), 0.95), settings=settings
            )
            return float(losses.mean())

        assert loss(list(range(12))) < 0.75 * loss([*range(1, 12), 0])


def background(word: str) -> Tensor:
    """Mean red, green and blue, -1 to 1, of the corner of a sample whose prompt asks for that background."""
    prompt = parse_prompt(f"a white circle on a {word} background --w 128 --h 128 --d 3 --s 8 --g 1")
    encoded = texts().encode([prompt.text])
    positive = Conditioning(t5_out=encoded["t5_out"], txt_ids=encoded["txt_ids"], l_pooled=encoded["l_pooled"])
    *_, latents = sample_latents(transformer(), prompt, positive=positive)
    return to_tensor(decode_picture(autoencoder(), latents).crop((0, 0, 24, 24)))[0].mean(dim=(1, 2))


def test_samples_have_the_colours_of_their_prompts() -> None:
    red, blue = background("red"), background("blue")
    assert (red - blue)[0] > 0.4, "more red"
    assert (blue - red)[2] > 0.4, "more blue"


def test_drawings_are_the_same_for_a_seed(drawing: ModuleType) -> None:
    def some(seed: int) -> list[tuple[str, bytes]]:
        rng = random.Random(seed)
        drawings = [drawing.draw(rng, size_px=size_px) for size_px in drawing.SIZES_PX * 3]
        return [*((drawn.caption, drawn.image.tobytes()) for drawn in drawings), ("", drawing.texture(rng).tobytes())]

    assert some(7) == some(7)
    assert some(7) != some(8)
    sizes = [drawing.draw(random.Random(1), size_px=size_px).image.size for size_px in drawing.SIZES_PX]
    assert sizes == list(drawing.SIZES_PX)
