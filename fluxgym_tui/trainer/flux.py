"""FLUX.1's transformer, built fresh or from a checkpoint in BFL's layout, whatever its sizes.

Shapes: B batch, T text tokens, I image tokens, L = T + I, C hidden size.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.flux1 import PREFIX, check_flux1
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
from fluxgym_tui.trainer.swap import BlockSwap, swapped_blocks
from fluxgym_tui.trainer.weights import WeightsFile, is_fp8

__all__ = ["Flux", "FluxGeometry", "load_flux"]

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

    `swap`: the blocks whose weights lie elsewhere between their uses; None where all of them stay.
    `gradient_checkpointing`: keep only every block's input and attention for the backward pass, and compute the rest
    again. The last block keeps all: it is the first that the backward pass needs, so no memory is saved by doing less.
    """

    def __init__(self, geometry: FluxGeometry) -> None:
        super().__init__()
        size = geometry.hidden_size
        self.geometry = geometry
        self.gradient_checkpointing = False
        self.swap: BlockSwap | None = None
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
        """The precision the model computes in. The blocks' matrices may be stored in fewer bits."""
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
            image, text = self._run(block, image, text, activated_vec, rope, mask)
        joint = torch.cat((text, image), dim=1)
        for block in self.single_blocks[:-1]:
            joint = self._run(block, joint, activated_vec, rope, mask)
        joint = self._run(self.single_blocks[-1], joint, activated_vec, rope, mask, checkpointed=False)
        prediction: Tensor = self.final_layer(joint[:, txt.shape[1] :], vec)
        return prediction

    def _run(self, block: nn.Module, *args: object, checkpointed: bool = True) -> Any:
        """`block` of `args`, with its weights in place; `checkpointed` where checkpointing is asked for and of use."""
        if not (checkpointed and self.gradient_checkpointing and torch.is_grad_enabled()):
            with self._placed(block):
                return block(*args)
        contexts = partial(self._contexts, block)
        # No block draws random numbers, so the generator's state need not be kept.
        return checkpoint(block, *args, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)

    def _placed(self, block: nn.Module) -> AbstractContextManager[None]:
        return nullcontext() if self.swap is None or block not in self.swap else self.swap.placed(block)

    def _contexts(self, block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What a block is run in the first time, and when it is run again for the backward pass."""
        first, again = create_selective_checkpoint_contexts(_KEPT)  # type: ignore[no-untyped-call]
        # Copies of weights stand outside: what is kept is told by its place among all that is done inside.
        return _within(self._placed(block), first), _within(self._placed(block), again)


@contextmanager
def _within(outer: AbstractContextManager[Any], inner: AbstractContextManager[Any]) -> Iterator[None]:
    with outer, inner:
        yield


def load_flux(
    path: str | Path,
    axes_dim: Iterable[int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    *,
    fp8_base: bool = False,
    blocks_to_swap: int = 0,
) -> Flux:
    """Load a FLUX checkpoint in BFL's layout (`.safetensors` or `.sft`), frozen, to compute in `dtype` on `device`.

    Sizes come from the tensors' own shapes; guidance is embedded where the file has `guidance_in`. How a head's
    width is split among the position axes is in no tensor: it is `axes_dim`, else `{"axes_dim": [...]}` in
    `<file's stem>.json` beside the file, else FLUX.1's.
    The matrices of the blocks stay in fp8 where the file has them so, and with `fp8_base` (as float8_e4m3fn) in any
    case; each is cast when it is used. All the rest is in `dtype`; an fp8 `dtype` means bf16 with `fp8_base`.
    On the CPU, what is in the file as it is wanted is mapped, not copied. `blocks_to_swap` blocks, as sd-scripts counts
    them, lie in the CPU's memory between their uses.
    Raises FluxgymError where the file cannot be read, or is not such a checkpoint.
    """
    path, device = Path(path), torch.device(device)
    if is_fp8(dtype):
        dtype, fp8_base = torch.bfloat16, True
    check_flux1(path)
    with WeightsFile(path) as file:
        names = {key.removeprefix(PREFIX): key for key in file.tensors}
        shapes = {name: file.tensors[key].shape for name, key in names.items()}
        geometry = _geometry(path, shapes, axes_dim=_axes(path, axes_dim))
        with torch.device("meta"):  # the weights go straight into place: never two copies of them
            model = Flux(geometry)
        _check_shapes(path, expected={k: tuple(v.shape) for k, v in model.state_dict().items()}, found=shapes)
        swapped = _swapped(model, blocks_to_swap)
        matrices = _matrices(model)
        elsewhere = {name for name in matrices if name.startswith(tuple(f"{block}." for block in swapped))}
        weights = {}
        for name in model.state_dict():
            stored_as, stored = dtype, file.dtype(names[name])
            if name in matrices and (fp8_base or is_fp8(stored)):
                stored_as = stored if is_fp8(stored) else torch.float8_e4m3fn
            if name in elsewhere:
                weights[name] = file.load(names[name], dtype=stored_as, pinned=device.type == "cuda")
            else:
                weights[name] = file.load(names[name], dtype=stored_as, device=device)
    model.load_state_dict(weights, assign=True)
    if blocks_to_swap:
        model.swap = BlockSwap([model.get_submodule(block) for block in swapped], device=device)
    return model.requires_grad_(False).eval()


def _swapped(model: Flux, blocks_to_swap: int) -> list[str]:
    """The names of the blocks that lie elsewhere, in the order in which they are run."""
    if not blocks_to_swap:
        return []
    sizes = model.geometry
    double, single = swapped_blocks(blocks_to_swap, depth=sizes.depth, depth_single_blocks=sizes.depth_single_blocks)
    return [*(f"double_blocks.{index}" for index in double), *(f"single_blocks.{index}" for index in single)]


def _matrices(model: Flux) -> set[str]:
    """The names of the blocks' matrices: nearly all of the model, and what stands fp8."""
    return {
        f"{path}.weight"
        for path, module in model.named_modules()
        if isinstance(module, Linear) and path.startswith(("double_blocks.", "single_blocks."))
    }


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


def _geometry(path: Path, shapes: dict[str, tuple[int, ...]], *, axes_dim: tuple[int, ...]) -> FluxGeometry:
    def shape(name: str) -> tuple[int, ...]:
        if name not in shapes:
            raise FluxgymError(
                f"{path}: the tensor {name} is missing.",
                hint="The file is not a whole FLUX.1 checkpoint: download it again.",
            )
        return shapes[name]

    def matrix(name: str) -> tuple[int, ...]:
        if len(shape(name)) != 2:
            raise FluxgymError(
                f"{path}: {name} has the shape {list(shape(name))}, which is no matrix.",
                hint="Is it a FLUX.1 checkpoint?",
            )
        return shape(name)

    def count(blocks: str) -> int:
        numbers = [int(found[1]) for name in shapes if (found := re.match(rf"{blocks}\.(\d+)\.", name))]
        if not numbers:
            raise FluxgymError(f"{path}: there are no {blocks} in it.", hint="Download the file again.")
        return 1 + max(numbers)

    head_dim = math.prod(shape("double_blocks.0.img_attn.norm.query_norm.scale"))
    if sum(axes_dim) != head_dim:
        raise FluxgymError(
            f"{path}: its heads are {head_dim} wide, and axes_dim {list(axes_dim)} sums to {sum(axes_dim)}.",
            hint=f"Write the axes into {path.with_suffix('.json').name} beside it,"
            ' as {"axes_dim": [8, 12, 12]} for heads of 32.',
        )
    return FluxGeometry(
        hidden_size=matrix("img_in.weight")[0],
        mlp_size=matrix("double_blocks.0.img_mlp.0.weight")[0],
        depth=count("double_blocks"),
        depth_single_blocks=count("single_blocks"),
        axes_dim=axes_dim,
        in_channels=matrix("img_in.weight")[1],
        out_channels=matrix("final_layer.linear.weight")[0],
        context_in_dim=matrix("txt_in.weight")[1],
        vec_in_dim=matrix("vector_in.in_layer.weight")[1],
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
