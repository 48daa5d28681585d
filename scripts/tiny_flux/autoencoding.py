"""Trains the tiny autoencoder on drawings, so that its latents have FLUX's own mean and spread."""

import math
import random
import time

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fluxgym_tui.trainer.autoencoder import (
    SCALE_FACTOR,
    SHIFT_FACTOR,
    AttentionBlock,
    Autoencoder,
    AutoencoderGeometry,
    Downsample,
    ResnetBlock,
    Upsample,
)
from tiny_flux.drawings import draw, texture

# GroupNorm forgets what all channels of a group share, and at this width 32 groups would forget colour itself.
GEOMETRY = AutoencoderGeometry(level_channels=(32, 64, 64, 64), num_res_blocks=1, z_channels=16, norm_groups=4)
CROP_PX = 64
BATCH = 8
PEAK_RATE = 1e-3
WARM_UP_STEPS = 100
# Noise that the decoder learns to live with, in units of the scaled latents: a sampled latent is never exact.
LATENT_NOISE = 0.06
OWN_NOISE = 0.02  # what the encoder itself adds, in the same units
PICTURES = 1600  # drawings, and as many textures


def to_tensor(images: list[Image.Image]) -> Tensor:
    """(B, 3, H, W) in [-1, 1] of pictures of one size."""
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_image(pixels: Tensor) -> Image.Image:
    """The picture in (3, H, W), values beyond [-1, 1] clipped."""
    scaled = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(scaled.permute(1, 2, 0).numpy())


def _crops(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """A batch of random crops (B, 3, 64, 64) in [-1, 1] of (N, 3, H, W) bytes, mirrored half of the time."""
    height, width = pixels.shape[2:]
    index = torch.randint(len(pixels), (BATCH,), generator=rng).tolist()
    tops = torch.randint(height - CROP_PX + 1, (BATCH,), generator=rng).tolist()
    lefts = torch.randint(width - CROP_PX + 1, (BATCH,), generator=rng).tolist()
    parts = [
        pixels[i, :, top : top + CROP_PX, left : left + CROP_PX]
        for i, top, left in zip(index, tops, lefts, strict=True)
    ]
    batch = torch.stack(parts).float() / 127.5 - 1
    flipped = torch.rand(BATCH, generator=rng) < 0.5
    return torch.where(flipped[:, None, None, None], batch.flip(3), batch)


def _latent_terms(mean: Tensor, logvar: Tensor) -> Tensor:
    """What keeps the scaled latents at mean 0 and spread 1 in each channel, and their own noise small but present."""
    scaled = SCALE_FACTOR * (mean - SHIFT_FACTOR)
    centre = scaled.mean(dim=(0, 2, 3)).square().mean()
    spread = (scaled.std(dim=(0, 2, 3)) - 1).square().mean()
    noise = (0.5 * logvar + math.log(SCALE_FACTOR / OWN_NOISE)).square().mean()
    return 0.05 * centre + 0.05 * spread + 1e-4 * noise


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    done = (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _fresh() -> Autoencoder:
    """An untrained autoencoder through which colours already pass.

    With PyTorch's own start it spends minutes at 14 dB before it finds out about colour. So residual branches start
    silent, steps between levels start as orthogonal maps of the channels, and the latents' own noise starts small.
    """
    model = Autoencoder(GEOMETRY)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, ResnetBlock):
                _silence(module.conv2)
                if isinstance(module.nin_shortcut, nn.Conv2d):
                    _pass_channels(module.nin_shortcut)
            elif isinstance(module, AttentionBlock):
                _silence(module.proj_out)
            elif isinstance(module, Downsample | Upsample):
                _pass_channels(module.conv)
        first, last = model.encoder.conv_in, model.encoder.conv_out
        _silence(first)
        first.weight.normal_(std=0.27)  # 1 / sqrt(3 x 3 x 3) would be 0.19: pictures' values are correlated
        assert last.bias is not None
        last.bias[GEOMETRY.z_channels :] = 2 * math.log(OWN_NOISE / SCALE_FACTOR)
    return model.to(memory_format=torch.channels_last)


def _silence(conv: nn.Conv2d) -> None:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def _pass_channels(conv: nn.Conv2d) -> None:
    """Makes `conv` an orthogonal map of its channels: at its centre, or, at stride 2, over the pixels it reads."""
    across = nn.init.orthogonal_(torch.empty(conv.out_channels, conv.in_channels))
    _silence(conv)
    if conv.stride == (2, 2):
        detail = torch.randn(conv.out_channels, conv.in_channels, 2, 2) * 0.3 / math.sqrt(conv.in_channels)
        conv.weight[:, :, :2, :2] = across[:, :, None, None] / 4 + detail
    else:
        middle = conv.kernel_size[0] // 2
        conv.weight[:, :, middle, middle] = across


def train_autoencoder(*, steps: int, seed: int) -> Autoencoder:
    """A fresh autoencoder trained for `steps` batches of 8 crops of 64 px; the same seed gives the same one."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    pictures = [draw(rng).image for _ in range(PICTURES)] + [texture(rng) for _ in range(PICTURES)]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in pictures])).permute(0, 3, 1, 2)
    model = _fresh()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.0)
    started = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * _rate(step, steps)
        images = _crops(pixels, generator).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mean, logvar = model.moments(images)
            mean, logvar = mean.float(), logvar.float()
            noise = torch.randn(mean.shape, generator=generator)
            spread = torch.exp(0.5 * logvar) + LATENT_NOISE / SCALE_FACTOR
            decoded = model.decoder(mean + spread * noise).float()
        error = decoded - images
        loss = error.square().mean() + 0.3 * error.abs().mean() + _latent_terms(mean, logvar)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 200 == 0 or step == steps - 1:
            psnr = -10 * math.log10(float(error.detach().square().mean()) / 4)
            pace = (time.monotonic() - started) / (step + 1)
            figures = f"loss {float(loss.detach()):.4f}  {psnr:.1f} dB  {pace:.3f} s/step"
            print(f"autoencoder step {step + 1}/{steps}  {figures}", flush=True)
    return model.eval().requires_grad_(False)


def psnr_db(model: Autoencoder, images: Tensor) -> float:
    """Peak signal to noise of pictures (B, 3, H, W) through the latents' means, in decibels."""
    with torch.inference_mode():
        mean, _ = model.moments(images)
        error = functional.mse_loss(model.decode(SCALE_FACTOR * (mean - SHIFT_FACTOR)).clamp(-1, 1), images)
    return -10 * math.log10(float(error) / 4)
