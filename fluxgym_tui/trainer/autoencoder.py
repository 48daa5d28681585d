"""FLUX's autoencoder: pictures to 16-channel latents and back, loaded by its tensors' own shapes."""

# Shapes: B batch, C channels, H and W of the picture in pixels, h = H/8 and w = W/8 for FLUX's four levels.

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fluxgym_tui.base.errors import FluxgymError

# FLUX.1's constants: x0 = SCALE_FACTOR * (z - SHIFT_FACTOR), so that latents have mean 0 and spread 1.
SCALE_FACTOR = 0.3611
SHIFT_FACTOR = 0.1159
NORM_EPS = 1e-6
DEFAULT_NORM_GROUPS = 32


@dataclass(frozen=True)
class AutoencoderGeometry:
    """What an autoencoder's file says about itself; only `norm_groups` is not visible in the tensors' shapes."""

    level_channels: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    z_channels: int = 16
    image_channels: int = 3
    norm_groups: int = DEFAULT_NORM_GROUPS

    @property
    def downscale(self) -> int:
        """Pixels of the picture along one side of one latent."""
        return int(2 ** (len(self.level_channels) - 1))


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions around a residual, (B, in, H, W) -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(norm_groups, in_channels, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(norm_groups, out_channels, eps=NORM_EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        out: Tensor = self.nin_shortcut(x) + h
        return out


class AttentionBlock(nn.Module):
    """One head over all positions, as wide as the channels."""

    def __init__(self, channels: int, *, norm_groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=NORM_EPS)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        # (B, C, H, W) -> (B, 1, H*W, C): attention wants positions before channels
        q, k, v = (f(normed).flatten(2).transpose(1, 2).unsqueeze(1) for f in (self.q, self.k, self.v))
        h = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.proj_out(h.squeeze(1).transpose(1, 2).reshape(x.shape))
        return out


class Downsample(nn.Module):
    """Halves both sides; padded right and below only, as FLUX was trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Doubles both sides by nearest neighbour, then smooths with a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class _Level(nn.Module):
    """The blocks of one resolution; `downsample` or `upsample` stands beside them where the level has one."""

    def __init__(self, channels: list[int], *, norm_groups: int, name: str, step: nn.Module | None) -> None:
        super().__init__()
        pairs = pairwise(channels)
        self.block = nn.ModuleList(ResnetBlock(a, b, norm_groups=norm_groups) for a, b in pairs)
        self.step_name = name if step is not None else None
        if step is not None:
            self.add_module(name, step)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return x if self.step_name is None else self.get_submodule(self.step_name)(x)


class _Middle(nn.Module):
    """The lowest resolution: block, attention, block."""

    def __init__(self, channels: int, *, norm_groups: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, norm_groups=norm_groups)
        self.attn_1 = AttentionBlock(channels, norm_groups=norm_groups)
        self.block_2 = ResnetBlock(channels, channels, norm_groups=norm_groups)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return out


class Encoder(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> moments (B, 2 z, h, w)."""

    def __init__(self, geometry: AutoencoderGeometry) -> None:
        super().__init__()
        widths, groups = geometry.level_channels, geometry.norm_groups
        self.conv_in = nn.Conv2d(geometry.image_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        previous = widths[0]
        for index, width in enumerate(widths):
            step = Downsample(width) if index < len(widths) - 1 else None
            channels = [previous] + [width] * geometry.num_res_blocks
            self.down.append(_Level(channels, norm_groups=groups, name="downsample", step=step))
            previous = width
        self.mid = _Middle(previous, norm_groups=groups)
        self.norm_out = nn.GroupNorm(groups, previous, eps=NORM_EPS)
        self.conv_out = nn.Conv2d(previous, 2 * geometry.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        out: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(h))))
        return out


class Decoder(nn.Module):
    """z (B, z, h, w) -> (B, 3, H, W); the levels are numbered from the finest, so they run backwards."""

    def __init__(self, geometry: AutoencoderGeometry) -> None:
        super().__init__()
        widths, groups = geometry.level_channels, geometry.norm_groups
        previous = widths[-1]
        self.conv_in = nn.Conv2d(geometry.z_channels, previous, 3, padding=1)
        self.mid = _Middle(previous, norm_groups=groups)
        levels: list[_Level] = []
        for index in reversed(range(len(widths))):
            step = Upsample(widths[index]) if index > 0 else None
            channels = [previous] + [widths[index]] * (geometry.num_res_blocks + 1)
            levels.insert(0, _Level(channels, norm_groups=groups, name="upsample", step=step))
            previous = widths[index]
        self.up = nn.ModuleList(levels)
        self.norm_out = nn.GroupNorm(groups, previous, eps=NORM_EPS)
        self.conv_out = nn.Conv2d(previous, geometry.image_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        out: Tensor = self.conv_out(functional.silu(self.norm_out(h)))
        return out


class Autoencoder(nn.Module):
    """FLUX's autoencoder with the parameter names of its published file (`ae.safetensors`)."""

    def __init__(self, geometry: AutoencoderGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.encoder = Encoder(geometry)
        self.decoder = Decoder(geometry)

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, each (B, z, h, w), unscaled, for pictures (B, 3, H, W) in [-1, 1]."""
        mean, logvar = self.encoder(images).chunk(2, dim=1)
        return mean, logvar

    def encode(self, images: Tensor, *, generator: torch.Generator | None = None, eps: Tensor | None = None) -> Tensor:
        """Scaled latents x0 (B, z, h, w) = 0.3611 (z - 0.1159), z = mean + exp(0.5 logvar) eps, as sd-scripts caches.

        `eps` is the N(0, 1) noise itself; without it, it is drawn from `generator` on the generator's device.
        """
        mean, logvar = self.moments(images)
        if eps is None:
            device = generator.device if generator is not None else mean.device
            eps = torch.randn(mean.shape, generator=generator, device=device, dtype=mean.dtype)
        z = mean + torch.exp(0.5 * logvar) * eps.to(mean)
        return SCALE_FACTOR * (z - SHIFT_FACTOR)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), about [-1, 1] but not clamped, for scaled latents x0 (B, z, h, w)."""
        out: Tensor = self.decoder(latents / SCALE_FACTOR + SHIFT_FACTOR)
        return out


def read_geometry(tensors: Mapping[str, Tensor], *, norm_groups: int = DEFAULT_NORM_GROUPS) -> AutoencoderGeometry:
    """The geometry that an `ae.safetensors` shows in its shapes; KeyError where it is not in FLUX's own layout."""
    level_channels: list[int] = []
    while (key := f"encoder.down.{len(level_channels)}.block.0.conv1.weight") in tensors:
        level_channels.append(tensors[key].shape[0])
    num_res_blocks = 0
    while f"encoder.down.0.block.{num_res_blocks}.conv1.weight" in tensors:
        num_res_blocks += 1
    if not level_channels:
        raise KeyError("encoder.down.0.block.0.conv1.weight")
    return AutoencoderGeometry(
        level_channels=tuple(level_channels),
        num_res_blocks=num_res_blocks,
        z_channels=tensors["decoder.conv_in.weight"].shape[1],
        image_channels=tensors["encoder.conv_in.weight"].shape[1],
        norm_groups=norm_groups,
    )


def _norm_groups(path: Path) -> int:
    """GroupNorm's groups: 32 as in FLUX, or `norm_groups` of the JSON file of the same stem."""
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return DEFAULT_NORM_GROUPS
    try:
        return int(json.loads(sidecar.read_text(encoding="utf-8")).get("norm_groups", DEFAULT_NORM_GROUPS))
    except (ValueError, AttributeError, TypeError) as error:
        raise FluxgymError(
            f"{sidecar} does not describe an autoencoder: {error}",
            hint='It should hold an object such as {"norm_groups": 8}; remove it for FLUX\'s own autoencoder.',
        ) from error


def load_autoencoder(
    path: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Autoencoder:
    """The frozen autoencoder in `path` (FLUX's `ae.safetensors` layout), in eval mode.

    Raises FluxgymError where the file cannot be read or is laid out otherwise (diffusers' folders are).
    """
    path = Path(path)
    hint = "Use FLUX's own ae.safetensors (black-forest-labs/FLUX.1-schnell has it)."
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FluxgymError(f"The autoencoder {path} cannot be read: {error}", hint=hint) from error
    try:
        geometry = read_geometry(tensors, norm_groups=_norm_groups(path))
    except KeyError as error:
        raise FluxgymError(f"{path} is not an autoencoder in FLUX's layout: no tensor {error}.", hint=hint) from error
    with torch.device("meta"):
        model = Autoencoder(geometry)
    # file -> device first and cast there: a cast on the way would hold the weights twice in host memory
    placed = {key: tensor.to(device).to(dtype) for key, tensor in tensors.items()}
    try:
        model.load_state_dict(placed, assign=True)
    except RuntimeError as error:
        raise FluxgymError(f"{path} does not fit FLUX's autoencoder: {error}", hint=hint) from error
    return model.eval().requires_grad_(False)
