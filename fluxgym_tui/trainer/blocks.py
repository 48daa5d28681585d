"""The blocks of FLUX.1's transformer (MMDiT), in Black Forest Labs' own parameter names.

Shapes: B batch, T text tokens, I image tokens, L = T + I, C hidden size, H heads, D = C / H head width, M MLP width.
Two streams (text and image) meet in the attention of every double block; the single blocks run on their concatenation,
text first. All blocks are modulated by one vector: time + guidance + pooled caption.

The numbers follow the architecture that Black Forest Labs published with FLUX.1: LayerNorm without parameters and
RMSNorm of queries and keys with eps 1e-6, GELU in its tanh form, rotary positions over (unused, row, column) with
theta 10000.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.linear import Linear

EPS = 1e-6
EMBEDDING_CHANNELS = 256  # of the sinusoidal time and guidance embeddings


@dataclass(frozen=True, kw_only=True)
class FluxGeometry:
    """The sizes of a FLUX transformer; the defaults are FLUX.1-dev's.

    `axes_dim` splits a head's width among the three position axes; its sum is the head's width.
    `guidance_embed` is true for guidance-distilled models (dev), false for schnell.
    """

    hidden_size: int = 3072
    mlp_size: int = 12288
    depth: int = 19
    depth_single_blocks: int = 38
    axes_dim: tuple[int, ...] = (16, 56, 56)
    in_channels: int = 64
    out_channels: int = 64
    context_in_dim: int = 4096
    vec_in_dim: int = 768
    guidance_embed: bool = True

    def __post_init__(self) -> None:
        if min(self.depth, self.depth_single_blocks) < 1:
            raise FluxgymError(
                f"A FLUX transformer has double and single blocks, not {self.depth} and {self.depth_single_blocks}.",
                hint="Is it a whole FLUX.1 checkpoint?",
            )
        if any(axis <= 0 or axis % 2 for axis in self.axes_dim):
            raise FluxgymError(
                f"axes_dim {list(self.axes_dim)}: every axis must be even and above zero.",
                hint="FLUX.1 has 16, 56, 56; a head of 32 could have 8, 12, 12.",
            )
        if self.hidden_size % self.head_dim:
            raise FluxgymError(
                f"A hidden size of {self.hidden_size} does not divide into heads of {self.head_dim},"
                f" the sum of axes_dim {list(self.axes_dim)}.",
                hint="Give axes_dim whose sum is the width of one head.",
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return sum(self.axes_dim)

    @property
    def num_heads(self) -> int:
        """Attention heads of a block."""
        return self.hidden_size // self.head_dim


def timestep_embedding(t: Tensor) -> Tensor:
    """Sinusoids of `t` (B,) in 0..1, scaled to 0..1000 -> (B, 256), cosines first, float32."""
    half = EMBEDDING_CHANNELS // 2
    frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angles = (1000.0 * t.float())[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def rotary(ids: Tensor, axes_dim: tuple[int, ...]) -> Tensor:
    """The turns of positions `ids` (B, L, axes), as complex numbers cos + i sin: (B, 1, L, D/2), complex64.

    The angles are made in float64: rows and columns of large pictures times high frequencies need it.
    """
    angles = []
    for axis, width in enumerate(axes_dim):
        frequencies = 10000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64, device=ids.device) / width)
        angles.append(ids[..., axis, None].double() * frequencies)
    angle = torch.cat(angles, dim=-1)[:, None]
    return torch.complex(angle.cos().float(), angle.sin().float())


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Turn neighbouring pairs of channels of `x` (B, H, L, D) by `rope`, in float32; the dtype stays.

    A pair is taken as one complex number: one product, many times faster than cosines and sines of halves.
    """
    pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rope).flatten(-2).to(x.dtype)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise the channels of `x` (B, L, C), then scale by 1 + `scale` and move by `shift`, both (B, 1, C)."""
    return (F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale)).add_(shift)


def gated(x: Tensor, gate: Tensor, y: Tensor) -> Tensor:
    """x + gate y: two (B, L, C) and a gate (B, 1, C)."""
    return (gate * y).add_(x)  # not addcmul: its one rounding less is enough to leave sd-scripts' trajectory


class Embedder(nn.Module):
    """Two linears with a SiLU between: of time, guidance and the pooled caption."""

    def __init__(self, in_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.in_layer = Linear(in_dim, hidden_size)
        self.out_layer = Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_dim) -> (B, C)."""
        y: Tensor = self.out_layer(F.silu(self.in_layer(x)))
        return y


class Scale(nn.Module):
    """An RMSNorm over the head's width with a learned scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return F.rms_norm(x, x.shape[-1:], self.scale.to(x.dtype), EPS)


class QueryKeyNorm(nn.Module):
    """The norms of queries and keys."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.query_norm = Scale(head_dim)
        self.key_norm = Scale(head_dim)


class Modulation(nn.Module):
    """Shift, scale and gate, once or twice, from the vector."""

    def __init__(self, hidden_size: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.lin = Linear(hidden_size, parts * hidden_size)

    def forward(self, activated_vec: Tensor) -> tuple[Tensor, ...]:
        """silu(vec) (B, C) -> `parts` tensors (B, 1, C)."""
        return tuple(self.lin(activated_vec)[:, None].chunk(self.parts, dim=-1))


class StreamAttention(nn.Module):
    """The projections of one stream of a double block; the attention itself is the block's."""

    def __init__(self, geometry: FluxGeometry) -> None:
        super().__init__()
        self.head_dim = geometry.head_dim
        self.qkv = Linear(geometry.hidden_size, 3 * geometry.hidden_size)
        self.norm = QueryKeyNorm(geometry.head_dim)
        self.proj = Linear(geometry.hidden_size, geometry.hidden_size)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L, C) -> normed queries, normed keys and values, each (B, H, L, D)."""
        return split_heads(self.qkv(x), norm=self.norm, head_dim=self.head_dim)


def split_heads(qkv: Tensor, *, norm: QueryKeyNorm, head_dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, L, 3C) -> normed queries, normed keys and values, each (B, H, L, D)."""
    q, k, v = qkv.view(*qkv.shape[:2], 3, -1, head_dim).permute(2, 0, 3, 1, 4)
    return norm.query_norm(q).to(v.dtype), norm.key_norm(k).to(v.dtype), v


def attend(q: Tensor, k: Tensor, v: Tensor, *, rope: Tensor, mask: Tensor | None) -> Tensor:
    """Attention over all tokens with rotary positions: three (B, H, L, D) -> (B, L, C).

    `mask` (B, 1, 1, L) is true where keys count.
    """
    y = F.scaled_dot_product_attention(rotate(q, rope), rotate(k, rope), v, attn_mask=mask)
    return y.transpose(1, 2).flatten(2)


class DoubleBlock(nn.Module):
    """Text and image each with weights of their own, joined in the attention."""

    def __init__(self, geometry: FluxGeometry) -> None:
        super().__init__()
        size, mlp_size = geometry.hidden_size, geometry.mlp_size
        self.img_mod = Modulation(size, 6)
        self.img_attn = StreamAttention(geometry)
        self.img_mlp = nn.Sequential(Linear(size, mlp_size), nn.GELU(approximate="tanh"), Linear(mlp_size, size))
        self.txt_mod = Modulation(size, 6)
        self.txt_attn = StreamAttention(geometry)
        self.txt_mlp = nn.Sequential(Linear(size, mlp_size), nn.GELU(approximate="tanh"), Linear(mlp_size, size))

    def forward(
        self, img: Tensor, txt: Tensor, activated_vec: Tensor, rope: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """img (B, I, C), txt (B, T, C), silu(vec) (B, C) -> the same two streams."""
        img_shift1, img_scale1, img_gate1, img_shift2, img_scale2, img_gate2 = self.img_mod(activated_vec)
        txt_shift1, txt_scale1, txt_gate1, txt_shift2, txt_scale2, txt_gate2 = self.txt_mod(activated_vec)

        img_heads = self.img_attn.heads(modulate(img, img_shift1, img_scale1))
        txt_heads = self.txt_attn.heads(modulate(txt, txt_shift1, txt_scale1))
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(txt_heads, img_heads, strict=True))
        attended = attend(q, k, v, rope=rope, mask=mask)
        txt_attended, img_attended = torch.split(attended, [txt.shape[1], img.shape[1]], dim=1)

        img = gated(img, img_gate1, self.img_attn.proj(img_attended))
        img = gated(img, img_gate2, self.img_mlp(modulate(img, img_shift2, img_scale2)))
        txt = gated(txt, txt_gate1, self.txt_attn.proj(txt_attended))
        txt = gated(txt, txt_gate2, self.txt_mlp(modulate(txt, txt_shift2, txt_scale2)))
        return img, txt


class SingleBlock(nn.Module):
    """Attention and MLP side by side, in one linear in and one linear out."""

    def __init__(self, geometry: FluxGeometry) -> None:
        super().__init__()
        size, mlp_size = geometry.hidden_size, geometry.mlp_size
        self.head_dim = geometry.head_dim
        self.split_sizes = [3 * size, mlp_size]
        self.linear1 = Linear(size, 3 * size + mlp_size)
        self.linear2 = Linear(size + mlp_size, size)
        self.norm = QueryKeyNorm(geometry.head_dim)
        self.modulation = Modulation(size, 3)

    def forward(self, x: Tensor, activated_vec: Tensor, rope: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, L, C), silu(vec) (B, C) -> (B, L, C)."""
        shift, scale, gate = self.modulation(activated_vec)
        qkv, mlp = torch.split(self.linear1(modulate(x, shift, scale)), self.split_sizes, dim=-1)
        attended = attend(*split_heads(qkv, norm=self.norm, head_dim=self.head_dim), rope=rope, mask=mask)
        return gated(x, gate, self.linear2(torch.cat((attended, F.gelu(mlp, approximate="tanh")), dim=-1)))


class FinalLayer(nn.Module):
    """The last modulation and the way back to packed latents."""

    def __init__(self, geometry: FluxGeometry) -> None:
        super().__init__()
        self.linear = Linear(geometry.hidden_size, geometry.out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(geometry.hidden_size, 2 * geometry.hidden_size))

    def forward(self, x: Tensor, vec: Tensor) -> Tensor:
        """x (B, I, C), vec (B, C) -> (B, I, out_channels)."""
        shift, scale = self.adaLN_modulation(vec)[:, None].chunk(2, dim=-1)
        y: Tensor = self.linear(modulate(x, shift, scale))
        return y
