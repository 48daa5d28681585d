"""Sample pictures: FLUX's schedule, Euler steps, guidance, and sd-scripts' file names.

Shapes: N = width/16 * height/16 packed tokens, T text tokens.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fluxgym_tui.base.prompts import SamplePrompt
from fluxgym_tui.trainer.autoencoder import Autoencoder
from fluxgym_tui.trainer.flow import flux_shift_mu, image_ids, shift_sigmas, unpack
from fluxgym_tui.trainer.flux import Flux


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What the text encoders made of one prompt: t5_out (1, T, context), txt_ids (1, T, 3), l_pooled (1, vec).

    t5_attn_mask (1, T), or None where the model is not to look at it (sd-scripts' default).
    """

    t5_out: Tensor
    txt_ids: Tensor
    l_pooled: Tensor
    t5_attn_mask: Tensor | None = None


def sigma_schedule(steps: int, *, tokens: int) -> list[float]:
    """The `steps` + 1 noise levels from 1 to 0, shifted for a picture of `tokens` packed tokens as FLUX does."""
    return shift_sigmas(torch.linspace(1, 0, steps + 1), shift=math.exp(flux_shift_mu(tokens))).tolist()


def denoise(
    model: Flux,
    noise: Tensor,
    *,
    positions: Tensor,
    positive: Conditioning,
    sigmas: list[float],
    guidance_scale: float,
    cfg_scale: float = 1.0,
    negative: Conditioning | None = None,
) -> Iterator[Tensor]:
    """Euler steps from packed `noise` (1, N, 64) at `positions` (1, N, 3): yields the tokens after each, clean at last.

    With `negative`, both prompts run as one batch and the prediction goes `cfg_scale` times the way between them.
    """
    both = [positive] if negative is None else [negative, positive]
    txt = torch.cat([each.t5_out for each in both])
    txt_ids = torch.cat([each.txt_ids for each in both])
    pooled = torch.cat([each.l_pooled for each in both])
    masks = [each.t5_attn_mask for each in both if each.t5_attn_mask is not None]
    count = len(both)
    guidance = torch.full((count,), guidance_scale, device=noise.device)
    x = noise
    for sigma, following in pairwise(sigmas):
        prediction = model(
            img=x.expand(count, -1, -1),
            img_ids=positions.expand(count, -1, -1),
            txt=txt,
            txt_ids=txt_ids,
            timesteps=torch.full((count,), sigma, device=noise.device),
            y=pooled,
            guidance=guidance,
            txt_attention_mask=torch.cat(masks) if masks else None,
        ).float()
        if negative is not None:
            away, towards = prediction.chunk(2)
            prediction = away + (towards - away) * cfg_scale
        x = x + (following - sigma) * prediction
        yield x


@torch.no_grad()
def sample_latents(
    model: Flux, prompt: SamplePrompt, *, positive: Conditioning, negative: Conditioning | None = None
) -> Iterator[Tensor]:
    """Sample `prompt`: yields the latent (1, 16, height/8, width/8) after each step; the last is the picture's.

    `negative` is needed where the prompt's `cfg_scale` is not 1. The noise of a seed is drawn on the CPU, so that it is
    the same on every machine; without a seed it is new each time. The random state outside is left alone.
    """
    width, height = prompt.size
    tokens = (width // 16) * (height // 16)
    generator = torch.Generator()
    if prompt.seed is None:
        generator.seed()
    else:
        generator.manual_seed(prompt.seed)
    device = positive.t5_out.device
    noise = torch.randn(1, tokens, model.geometry.out_channels, generator=generator).to(device)
    states = denoise(
        model,
        noise,
        positions=image_ids(height=height // 8, width=width // 8, device=device),
        positive=positive,
        sigmas=sigma_schedule(prompt.steps, tokens=tokens),
        guidance_scale=prompt.guidance_scale,
        cfg_scale=prompt.cfg_scale,
        negative=None if prompt.cfg_scale == 1.0 else negative,
    )
    for state in states:
        yield unpack(state, height=height // 8, width=width // 8)


@torch.no_grad()
def decode_picture(autoencoder: Autoencoder, latents: Tensor) -> Image.Image:
    """A latent (1, 16, h, w) -> its picture."""
    parameter = next(autoencoder.parameters())
    pixels = autoencoder.decode(latents.to(parameter.device, parameter.dtype))[0].float().clamp(-1, 1)
    return Image.fromarray((127.5 * (pixels + 1)).to("cpu", torch.uint8).permute(1, 2, 0).numpy())


def sample_path(
    folder: Path,
    *,
    output_name: str | None,
    prompt_index: int,
    seed: int | None,
    step: int,
    epoch: int | None = None,
    now: datetime,
) -> Path:
    """Where a sample goes: `NAME_000100_00_20260131235959_42.png`.

    After an epoch its number stands in the step's place, as `e000004`; without a seed the last part is left out, and
    where the training has no name the first.
    """
    when = f"{step:06d}" if epoch is None else f"e{epoch:06d}"
    last = "" if seed is None else f"_{seed}"
    first = "" if output_name is None else f"{output_name}_"
    return folder / f"{first}{when}_{prompt_index:02d}_{now:%Y%m%d%H%M%S}{last}.png"
