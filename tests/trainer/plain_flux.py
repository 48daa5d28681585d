"""FLUX's transformer written down slowly in float64: no fused kernel, no trick, one formula a line.

It takes the weights by their names in a checkpoint, and LoRAs as sums added to them.
"""

import math

import torch
from torch import Tensor


def plain_flux(weights: dict[str, Tensor], inputs: dict[str, Tensor], *, axes_dim: tuple[int, ...]) -> Tensor:
    """The velocity of `inputs` (as `Flux.forward` takes them), in float64."""
    net = _Plain(weights, axes_dim)
    inputs = {name: value.double() for name, value in inputs.items()}
    vec = net.embed("time_in", inputs["timesteps"]) + net.embed("guidance_in", inputs["guidance"])
    vec = vec + net.two_layers("vector_in", inputs["y"])
    turns = net.turns(torch.cat((inputs["txt_ids"], inputs["img_ids"]), dim=1))
    img, txt = net.linear("img_in", inputs["img"]), net.linear("txt_in", inputs["txt"])
    for block in range(net.count("double_blocks")):
        img, txt = net.double(f"double_blocks.{block}", img, txt, vec, turns)
    joint = torch.cat((txt, img), dim=1)
    for block in range(net.count("single_blocks")):
        joint = net.single(f"single_blocks.{block}", joint, vec, turns)
    shift, scale = net.linear("final_layer.adaLN_modulation.1", _silu(vec))[:, None].chunk(2, dim=-1)
    return net.linear("final_layer.linear", _layer_norm(joint[:, txt.shape[1] :]) * (1 + scale) + shift)


class _Plain:
    def __init__(self, weights: dict[str, Tensor], axes_dim: tuple[int, ...]) -> None:
        self.weights = weights
        self.axes_dim = axes_dim

    def count(self, blocks: str) -> int:
        return len({name.split(".")[1] for name in self.weights if name.startswith(blocks)})

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].double().T + self.weights[f"{name}.bias"].double()

    def two_layers(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.out_layer", _silu(self.linear(f"{name}.in_layer", x)))

    def embed(self, name: str, t: Tensor) -> Tensor:
        waves = torch.tensor([10000 ** (-i / 128) for i in range(128)], dtype=torch.float64)
        angles = 1000 * t[:, None] * waves
        return self.two_layers(name, torch.cat((angles.cos(), angles.sin()), dim=-1))

    def turns(self, ids: Tensor) -> Tensor:
        """Rotation matrices of every position and pair of channels: (B, 1, L, D/2, 2, 2)."""
        angles = torch.cat(
            [
                ids[:, :, axis, None] * torch.tensor([10000 ** (-i / width) for i in range(0, width, 2)]).double()
                for axis, width in enumerate(self.axes_dim)
            ],
            dim=-1,
        )
        rows = (torch.stack((angles.cos(), -angles.sin()), -1), torch.stack((angles.sin(), angles.cos()), -1))
        return torch.stack(rows, dim=-2)[:, None]

    def heads(self, qkv: Tensor, norm: str) -> tuple[Tensor, Tensor, Tensor]:
        head_dim = sum(self.axes_dim)
        q, k, v = (part.reshape(*part.shape[:2], -1, head_dim).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        q = _rms_norm(q) * self.weights[f"{norm}.query_norm.scale"].double()
        k = _rms_norm(k) * self.weights[f"{norm}.key_norm.scale"].double()
        return q, k, v

    def modulation(self, name: str, vec: Tensor, parts: int) -> tuple[Tensor, ...]:
        return tuple(self.linear(name, _silu(vec))[:, None].chunk(parts, dim=-1))

    def double(self, name: str, img: Tensor, txt: Tensor, vec: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        streams, parts, heads = {"txt": txt, "img": img}, {}, []
        for stream, x in streams.items():
            parts[stream] = self.modulation(f"{name}.{stream}_mod.lin", vec, 6)
            shift, scale, *_ = parts[stream]
            qkv = self.linear(f"{name}.{stream}_attn.qkv", _layer_norm(x) * (1 + scale) + shift)
            heads.append(self.heads(qkv, f"{name}.{stream}_attn.norm"))
        q, k, v = (torch.cat(both, dim=2) for both in zip(*heads, strict=True))
        attended = _attention(q, k, v, turns)
        split = {"txt": attended[:, : txt.shape[1]], "img": attended[:, txt.shape[1] :]}
        for stream, before in streams.items():
            _, _, gate1, shift2, scale2, gate2 = parts[stream]
            x = before + gate1 * self.linear(f"{name}.{stream}_attn.proj", split[stream])
            h = _gelu(self.linear(f"{name}.{stream}_mlp.0", _layer_norm(x) * (1 + scale2) + shift2))
            streams[stream] = x + gate2 * self.linear(f"{name}.{stream}_mlp.2", h)
        return streams["img"], streams["txt"]

    def single(self, name: str, x: Tensor, vec: Tensor, turns: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(f"{name}.modulation.lin", vec, 3)
        both = self.linear(f"{name}.linear1", _layer_norm(x) * (1 + scale) + shift)
        qkv, mlp = both[..., : 3 * x.shape[-1]], both[..., 3 * x.shape[-1] :]
        attended = _attention(*self.heads(qkv, f"{name}.norm"), turns)
        return x + gate * self.linear(f"{name}.linear2", torch.cat((attended, _gelu(mlp)), dim=-1))


def _attention(q: Tensor, k: Tensor, v: Tensor, turns: Tensor) -> Tensor:
    def turn(x: Tensor) -> Tensor:
        return (turns @ x.reshape(*x.shape[:-1], -1, 2, 1)).reshape(x.shape)

    scores = turn(q) @ turn(k).transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    return (weights @ v).transpose(1, 2).flatten(2)


def _silu(x: Tensor) -> Tensor:
    return x / (1 + (-x).exp())


def _gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _layer_norm(x: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()


def _rms_norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
