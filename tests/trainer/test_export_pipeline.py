"""A LoRA of ours, exported, makes in diffusers' FluxPipeline the picture that our own sampling makes."""

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fluxgym_tui.base.lora_export import export_diffusers
from fluxgym_tui.base.prompts import SamplePrompt
from fluxgym_tui.trainer.autoencoder import Autoencoder, load_autoencoder
from fluxgym_tui.trainer.checkpoint import open_lora, save_lora
from fluxgym_tui.trainer.flux import Flux, load_flux
from fluxgym_tui.trainer.lora import LoraNetwork, create_lora
from fluxgym_tui.trainer.sample import Conditioning, decode_picture, sample_latents
from fluxgym_tui.trainer.text import TextEncoders, load_text_encoders
from tests.trainer.diffusers_flux import pipeline
from tests.trainer.parity import relative
from tests.trainer.trainer_options import TINY_BASE

pytestmark = pytest.mark.usefixtures("one_thread")

TOKENS = 64
PROMPT = SamplePrompt(text="a red circle on a green field", width=128, height=96, steps=6, guidance_scale=3.5, seed=11)


class Ours:
    """The tiny base, as our trainer holds it."""

    def __init__(self) -> None:
        self.model: Flux = load_flux(TINY_BASE / "flux1-tiny.safetensors")
        self.autoencoder: Autoencoder = load_autoencoder(TINY_BASE / "ae.safetensors")
        self.encoders: TextEncoders = load_text_encoders(
            clip_l=TINY_BASE / "clip_l.safetensors",
            t5xxl=TINY_BASE / "t5xxl.safetensors",
            max_tokens=TOKENS,
            tokenizer_cache_dir=TINY_BASE / "tokenizers",
        )

    def sample(self) -> Image.Image:
        encoded = self.encoders.encode([PROMPT.text])
        positive = Conditioning(t5_out=encoded["t5_out"], txt_ids=encoded["txt_ids"], l_pooled=encoded["l_pooled"])
        latents = deque(sample_latents(self.model, PROMPT, positive=positive), maxlen=1).pop()
        return decode_picture(self.autoencoder, latents)

    def pipeline(self) -> Any:
        return pipeline(
            self.model, ae=TINY_BASE / "ae.safetensors", autoencoder=self.autoencoder, encoders=self.encoders
        )


def theirs(built: Any) -> Image.Image:
    tokens = (PROMPT.width // 16) * (PROMPT.height // 16)
    assert PROMPT.seed is not None
    noise: Tensor = torch.randn(1, tokens, 64, generator=torch.Generator().manual_seed(PROMPT.seed))
    made: Image.Image = built(
        PROMPT.text,
        width=PROMPT.width,
        height=PROMPT.height,
        num_inference_steps=PROMPT.steps,
        guidance_scale=PROMPT.guidance_scale,
        max_sequence_length=TOKENS,
        latents=noise,
    ).images[0]
    return made


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean absolute difference of two pictures' values of 0 to 255."""
    assert one.size == other.size
    return float(np.abs(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)).mean())


def strong_lora(ours: Ours, strength: float, **settings: Any) -> LoraNetwork:
    """Adapters that change the picture as a long training does."""
    network = create_lora(ours.model, generator=torch.Generator().manual_seed(3), **settings)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("up"):
                parameter.copy_(strength * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize(
    ("with_clip", "strength", "settings", "save_precision"),
    [
        (False, 1.5, {"network_dim": 8, "network_alpha": 2.0}, "float"),
        (True, 1.5, {"network_dim": 4, "network_alpha": 1.0}, "bf16"),
        (False, 1.0, {"network_dim": 6, "network_alpha": 5.0, "network_args": {"single_dim": "3"}}, "fp16"),
    ],
)
def test_the_exported_lora_makes_our_picture_in_diffusers(
    tmp_path: Path, with_clip: bool, strength: float, settings: dict[str, Any], save_precision: str
) -> None:
    ours, built = Ours(), Ours().pipeline()
    plain = ours.sample()
    # The base is the same: we cut to whole values as sd-scripts does, diffusers rounds to the nearest.
    assert difference(theirs(built), plain) < 0.6

    network = strong_lora(ours, strength, clip=ours.encoders.clip if with_clip else None, **settings)
    path = tmp_path / "lora.safetensors"
    save_lora(path, network, metadata={"ss_network_module": "networks.lora_flux"}, save_precision=save_precision)
    saved = open_lora(path).tensors
    assert any(name.startswith("lora_te1_") for name in saved) == with_clip
    network.load_lora_state(saved, source=str(path))  # as rounded by saving
    sample = ours.sample()
    assert difference(sample, plain) > 8, "the LoRA shows"

    pooled = pooled_by(built)
    exported = export_diffusers(path, tmp_path / "diffusers.safetensors")
    built.load_lora_weights(str(exported.path))
    assert difference(theirs(built), sample) < 1, "2 is allowed, 0.5 is the rounding"
    if with_clip:
        changed = ours.encoders.encode([PROMPT.text])["l_pooled"]
        assert relative(pooled_by(built), changed) < 1e-4
        assert relative(pooled, changed) > 1e-2, "CLIP-L's layers count"


@torch.no_grad()
def pooled_by(built: Any) -> Tensor:
    """What the pipeline's CLIP-L makes of the prompt."""
    ids = built.tokenizer([PROMPT.text], padding="max_length", max_length=77, return_tensors="pt").input_ids
    pooled: Tensor = built.text_encoder(input_ids=ids).pooler_output
    return pooled
