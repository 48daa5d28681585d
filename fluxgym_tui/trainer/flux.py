"""FLUX.1's transformer, built fresh or from a checkpoint in BFL's layout, whatever its sizes.

Shapes: B batch, T text tokens, I image tokens, L = T + I, C hidden size.
"""

import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.modelfiles import describe
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.trainer.blocks import (
    EMBEDDING_CHANNELS,
    DoubleBlock,
    Embedder,
    FinalLayer,
    FluxGeometry,
    SingleBlock,
    rotary,
    timestep_embedding,
)
from fluxgym_tui.trainer.linear import Linear

__all__ = ["Flux", "FluxGeometry", "load_flux"]

PREFIX = "model.diffusion_model."  # of checkpoints that were saved with the whole pipeline around them
FLUX1_AXES = (16, 56, 56)

# What checkpointing keeps beside a block's input: attention's output, small to keep and slow to compute again.
_KEPT = [
    getattr(torch.ops.aten, name).default
    for name in (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
    )
]


class Flux(nn.Module):
    """The transformer. A fresh one predicts zero: modulations and the last linear start at zero, as in DiT.

    `gradient_checkpointing`: keep only every block's input and attention for the backward pass, and compute the rest
    again. The last block keeps all: it is the first that the backward pass needs, so no memory is saved by doing less.
    """

    def __init__(self, geometry: FluxGeometry) -> None:
        super().__init__()
        size = geometry.hidden_size
        self.geometry = geometry
        self.gradient_checkpointing = False
        self.img_in = Linear(geometry.in_channels, size)
        self.txt_in = Linear(geometry.context_in_dim, size)
        self.time_in = Embedder(EMBEDDING_CHANNELS, size)
        self.vector_in = Embedder(geometry.vec_in_dim, size)
        self.guidance_in = Embedder(EMBEDDING_CHANNELS, size) if geometry.guidance_embed else None
        self.double_blocks = nn.ModuleList(DoubleBlock(geometry) for _ in range(geometry.depth))
        self.single_blocks = nn.ModuleList(SingleBlock(geometry) for _ in range(geometry.depth_single_blocks))
        self.final_layer = FinalLayer(geometry)
        if not self.img_in.weight.is_meta:
            self.init_weights()

    @property
    def dtype(self) -> torch.dtype:
        """The precision the model computes in: its weights'."""
        return self.img_in.weight.dtype

    def init_weights(self, *, generator: torch.Generator | None = None) -> None:
        """Xavier for linears, normal(0.02) for the embedders, zero for biases, modulations and the last linear."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                nn.init.constant_(parameter, 1.0 if name.endswith("scale") else 0.0)
            elif "_mod." in name or "modulation" in name or name.startswith("final_layer"):
                nn.init.zeros_(parameter)
            elif "_layer." in name:
                nn.init.normal_(parameter, std=0.02, generator=generator)
            else:
                nn.init.xavier_uniform_(parameter, generator=generator)

    def forward(
        self,
        *,
        img: Tensor,
        img_ids: Tensor,
        txt: Tensor,
        txt_ids: Tensor,
        timesteps: Tensor,
        y: Tensor,
        guidance: Tensor | None = None,
        txt_attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict the velocity (noise - picture) of packed latents, (B, I, out_channels), in the weights' dtype.

        img (B, I, in_channels), img_ids (B, I, 3) = (0, row, column), txt (B, T, context_in_dim) from T5,
        txt_ids (B, T, 3) zeros, timesteps (B,) in 0..1 = sigma, y (B, vec_in_dim) CLIP's pooled output,
        guidance (B,) needed where the model embeds it and unused by schnell,
        txt_attention_mask (B, T) non-zero where a text token counts (None: all count).
        """
        dtype = self.dtype
        vec = self.time_in(timestep_embedding(timesteps).to(dtype))
        if self.guidance_in is not None:
            if guidance is None:
                raise FluxgymError(
                    "This FLUX model embeds guidance, and no guidance was given.",
                    hint="Give `guidance`, one number a picture.",
                )
            vec = vec + self.guidance_in(timestep_embedding(guidance).to(dtype))
        vec = vec + self.vector_in(y.to(dtype))
        activated_vec = F.silu(vec)  # every modulation begins with it: once is enough
        rope = rotary(torch.cat((txt_ids, img_ids), dim=1), self.geometry.axes_dim)
        mask = None
        if txt_attention_mask is not None:
            mask = F.pad(txt_attention_mask.bool(), (0, img.shape[1]), value=True)[:, None, None, :]

        image, text = self.img_in(img.to(dtype)), self.txt_in(txt.to(dtype))
        for block in self.double_blocks:
            image, text = self._checkpointed(block, image, text, activated_vec, rope, mask)
        joint = torch.cat((text, image), dim=1)
        for block in self.single_blocks[:-1]:
            joint = self._checkpointed(block, joint, activated_vec, rope, mask)
        joint = self.single_blocks[-1](joint, activated_vec, rope, mask)
        prediction: Tensor = self.final_layer(joint[:, txt.shape[1] :], vec)
        return prediction

    def _checkpointed(self, block: nn.Module, *args: object) -> Any:
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return block(*args)
        keep = partial(create_selective_checkpoint_contexts, _KEPT)
        # No block draws random numbers, so the generator's state need not be kept.
        return checkpoint(block, *args, use_reentrant=False, preserve_rng_state=False, context_fn=keep)


def load_flux(
    path: str | Path,
    axes_dim: Iterable[int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Flux:
    """Load a FLUX checkpoint in BFL's layout (`.safetensors` or `.sft`), frozen, in `dtype` on `device`.

    Sizes come from the tensors' own shapes; guidance is embedded where the file has `guidance_in`. How a head's
    width is split among the position axes is in no tensor: it is `axes_dim`, else `{"axes_dim": [...]}` in
    `<file's stem>.json` beside the file, else FLUX.1's.
    Raises FluxgymError where the file cannot be read or is not such a checkpoint.
    """
    path = Path(path)
    try:
        _refuse_other_kinds(path)
        with safe_open(path, framework="pt", device=str(device)) as file:
            names = {key.removeprefix(PREFIX): key for key in file.keys()}  # noqa: SIM118 - not a mapping
            shapes = {name: tuple(file.get_slice(key).get_shape()) for name, key in names.items()}
            geometry = _geometry(path, shapes, axes_dim=_axes(path, axes_dim))
            with torch.device("meta"):  # the weights go straight into place: never two copies of them
                model = Flux(geometry)
            _check_shapes(path, expected={k: tuple(v.shape) for k, v in model.state_dict().items()}, found=shapes)
            weights = {name: file.get_tensor(names[name]).to(dtype) for name in model.state_dict()}
    except (OSError, SafetensorError) as error:
        raise FluxgymError(
            f"{path}: the FLUX checkpoint cannot be read: {error}", hint="Check the path, or download the file again."
        ) from error
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(False).eval()


def _axes(path: Path, given: Iterable[int] | None) -> tuple[int, ...]:
    if given is not None:
        return tuple(given)
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return FLUX1_AXES
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        axes = content.get("axes_dim", FLUX1_AXES) if isinstance(content, dict) else FLUX1_AXES
        return tuple(int(axis) for axis in axes)
    except (ValueError, TypeError) as error:
        raise FluxgymError(
            f'{sidecar}: "axes_dim" cannot be read: {error}', hint='Write it as {"axes_dim": [16, 56, 56]}.'
        ) from error


def _refuse_other_kinds(path: Path) -> None:
    """Look at the header alone, before anything is loaded."""
    header = read_header(path)
    found = describe(header)
    if found.kind != "flux":
        hint = "Give a FLUX.1 checkpoint in one file, as Black Forest Labs published it (flux1-dev.safetensors)."
        if found.kind == "chroma":
            hint = "Chroma trains with the kohya backend (--model_type chroma)."
        raise FluxgymError(f"{path} is no FLUX checkpoint in BFL's layout: {found.title}.", hint=hint)
    if found.facts["fp8_scaled"]:
        raise FluxgymError(
            f"{path}: this checkpoint holds scaled fp8 weights, which train to noise.",
            hint="Use the bf16 file, or a plain fp8 (e4m3fn) one.",
        )
    if others := [name for name in header.tensors if name.startswith(("text_encoders.", "cond_stage_model.", "vae."))]:
        raise FluxgymError(
            f"{path}: this checkpoint has its text encoders or autoencoder inside ({others[0]}).",
            hint="Give the transformer's own file, and the encoders' and autoencoder's beside it.",
        )


def _geometry(path: Path, shapes: dict[str, tuple[int, ...]], *, axes_dim: tuple[int, ...]) -> FluxGeometry:
    def shape(name: str) -> tuple[int, ...]:
        if name not in shapes:
            raise FluxgymError(
                f"{path}: the tensor {name} is missing.",
                hint="The file is not a whole FLUX.1 checkpoint: download it again.",
            )
        return shapes[name]

    def count(blocks: str) -> int:
        numbers = [int(found[1]) for name in shapes if (found := re.match(rf"{blocks}\.(\d+)\.", name))]
        if not numbers:
            raise FluxgymError(f"{path}: there are no {blocks} in it.", hint="Download the file again.")
        return 1 + max(numbers)

    head_dim = shape("double_blocks.0.img_attn.norm.query_norm.scale")[0]
    if sum(axes_dim) != head_dim:
        raise FluxgymError(
            f"{path}: its heads are {head_dim} wide, and axes_dim {list(axes_dim)} sums to {sum(axes_dim)}.",
            hint=f"Write the axes into {path.with_suffix('.json').name} beside it,"
            ' as {"axes_dim": [8, 12, 12]} for heads of 32.',
        )
    hidden_size, in_channels = shape("img_in.weight")
    out_channels = shape("final_layer.linear.weight")[0]
    if in_channels != out_channels:
        # Fill, Canny and Depth get the picture to work on as further channels.
        raise FluxgymError(
            f"{path}: a FLUX checkpoint that wants {in_channels} input channels (Fill, Canny or Depth).",
            hint="Train on FLUX.1-dev or schnell.",
        )
    return FluxGeometry(
        hidden_size=hidden_size,
        mlp_size=shape("double_blocks.0.img_mlp.0.weight")[0],
        depth=count("double_blocks"),
        depth_single_blocks=count("single_blocks"),
        axes_dim=axes_dim,
        in_channels=in_channels,
        out_channels=out_channels,
        context_in_dim=shape("txt_in.weight")[1],
        vec_in_dim=shape("vector_in.in_layer.weight")[1],
        guidance_embed="guidance_in.in_layer.weight" in shapes,
    )


def _check_shapes(path: Path, *, expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    if missing := sorted(expected.keys() - found.keys()):
        raise FluxgymError(
            f"{path}: {len(missing)} tensors are missing, the first is {missing[0]}.", hint="Download the file again."
        )
    for name, want in expected.items():
        if found[name] != want:
            raise FluxgymError(
                f"{path}: {name} has the shape {list(found[name])}; {list(want)} was expected.",
                hint="Is it a FLUX.1 checkpoint?",
            )
