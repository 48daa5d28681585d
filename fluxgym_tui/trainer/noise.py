"""The noise that pictures are mixed with: plain, moved channel by channel, or with coarser layers in it.

Shapes: latents and noise (B, c, h, w). The formulas are those of sd-scripts' `apply_noise_offset` and
`pyramid_noise_like`, which it uses for Stable Diffusion. All is drawn on the generator's device.
"""

import torch
from torch import Tensor
from torch.nn import functional

from fluxgym_tui.trainer.flow import FlowBatch, FlowSettings, disturb, draw_sigmas, flow_losses
from fluxgym_tui.trainer.flux import Flux


def drawn_losses(model: Flux, *, batch: FlowBatch, settings: FlowSettings, generator: torch.Generator) -> Tensor:
    """The weighed error of each picture of `batch`, (B,), at noise and noise levels that `generator` draws."""
    B, _, h, w = batch.latents.shape
    device = batch.latents.device
    noise = draw_noise(batch.latents, settings=settings, generator=generator)
    sigmas = draw_sigmas(B, settings=settings, tokens=h // 2 * (w // 2), generator=generator, device=device)
    mixed = disturb(noise, settings=settings, generator=generator)
    return flow_losses(model, batch=batch, noise=noise, sigmas=sigmas, settings=settings, mixed_noise=mixed)


def draw_noise(latents: Tensor, *, settings: FlowSettings, generator: torch.Generator) -> Tensor:
    """Noise for `latents`, as `noise_offset` and `multires_noise_iterations` want it."""
    noise = torch.randn(latents.shape, generator=generator, device=generator.device).to(latents.device)
    if settings.noise_offset:
        noise = noise + _offset(latents, settings=settings, generator=generator)
    if settings.multires_noise_iterations:
        noise = _with_coarser_layers(noise, settings=settings, generator=generator)
    return noise


def _offset(latents: Tensor, *, settings: FlowSettings, generator: torch.Generator) -> Tensor:
    """What each channel's noise is moved by, (B, c, 1, 1)."""
    assert settings.noise_offset is not None
    strength = torch.tensor(settings.noise_offset)
    if settings.noise_offset_random_strength:
        strength = strength * torch.rand(1, generator=generator, device=generator.device)
    strength = strength.to(latents.device)
    if settings.adaptive_noise_scale is not None:
        means = latents.mean(dim=(2, 3), keepdim=True).abs()
        strength = (strength + settings.adaptive_noise_scale * means).clamp(min=0)
    directions = torch.randn(*latents.shape[:2], 1, 1, generator=generator, device=generator.device)
    return strength * directions.to(latents.device)


def _with_coarser_layers(noise: Tensor, *, settings: FlowSettings, generator: torch.Generator) -> Tensor:
    """`noise` plus layers drawn smaller, each a random 2 to 4 times the one before, and enlarged; of variance 1."""
    assert settings.multires_noise_iterations is not None
    B, c, height, width = noise.shape
    for layer in range(settings.multires_noise_iterations):
        ratio = 2 + 2 * float(torch.rand(1, generator=generator, device=generator.device))
        h, w = max(1, int(height / ratio**layer)), max(1, int(width / ratio**layer))
        coarse = torch.randn(B, c, h, w, generator=generator, device=generator.device).to(noise.device)
        enlarged = functional.interpolate(coarse, size=(height, width), mode="bilinear")
        noise = noise + enlarged * settings.multires_noise_discount**layer
        if h == 1 or w == 1:
            break
    return noise / noise.std()
