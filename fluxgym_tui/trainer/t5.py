"""T5: the encoder of long captions, the largest file beside the transformer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.casting import cast_while_running
from fluxgym_tui.trainer.weights import WeightsFile, is_fp8

T5_HINT = "Use t5xxl_fp16.safetensors of comfyanonymous/flux_text_encoders."
_EMBEDDINGS = (
    "shared.weight",
    "encoder.embed_tokens.weight",
)  # one embedding, of which files have either name, or both
_BLOCKS = "encoder.block."


class Shaped(Protocol):
    """A tensor, or what a file's header says of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""


def build_t5(tensors: Mapping[str, Shaped]) -> nn.Module:
    """An empty T5 v1.1 encoder, on the meta device, of the sizes that `tensors` show; KeyError where one is missing."""
    from transformers import T5Config, T5EncoderModel  # takes seconds: only where captions are encoded

    first = "encoder.block.0.layer.0.SelfAttention"
    buckets, heads = tensors[f"{first}.relative_attention_bias.weight"].shape
    inner, width = tensors[f"{first}.q.weight"].shape
    config = T5Config(
        vocab_size=tensors["shared.weight"].shape[0],
        d_model=width,
        d_kv=inner // heads,
        d_ff=tensors["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"].shape[0],
        num_layers=count_layers(tensors, "encoder.block.{}.layer.0.layer_norm.weight"),
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        dropout_rate=0.0,
    )
    with torch.device("meta"):
        return T5EncoderModel(config)


def count_layers(tensors: Mapping[str, Shaped], pattern: str) -> int:
    """How many layers there are, numbered from 0 in `pattern`."""
    layers = 0
    while pattern.format(layers) in tensors:
        layers += 1
    if not layers:
        raise KeyError(pattern.format(0))
    return layers


def load_t5(path: Path, *, dtype: torch.dtype, device: torch.device, elsewhere: bool = False) -> nn.Module:
    """The T5 encoder of a kohya-style single file, frozen, to compute in `dtype` on `device`.

    Layers in fp8 stay so, and are cast while they run. With `elsewhere`, and where `device` is the CPU, layers lie in
    the CPU's memory as the file has them, mapped, and are cast and brought to `device` one by one.
    FluxgymError where the file cannot be read or is of another kind.
    """
    with WeightsFile(path) as file:
        tensors = dict(file.tensors)
        sources = {name: name for name in tensors}
        for name in _EMBEDDINGS:
            if name in file.tensors:
                tensors |= dict.fromkeys(_EMBEDDINGS, tensors[name])
                sources |= dict.fromkeys(_EMBEDDINGS, name)
                break
        try:
            model = build_t5(tensors)
        except KeyError as error:
            raise FluxgymError(f"{path} is not a T5 v1.1 encoder: no tensor {error}.", hint=T5_HINT) from error
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        if missing := sorted(expected.keys() - tensors.keys()):
            raise FluxgymError(
                f"{path} is not whole: {len(missing)} tensors are missing, {missing[0]} first.", hint=T5_HINT
            )
        if strange := [name for name, shape in expected.items() if tensors[name].shape != shape]:
            raise FluxgymError(f"{path} has tensors of other shapes than its sizes say: {strange[0]}.", hint=T5_HINT)
        placed: dict[str, Tensor] = {}  # by the file's names: the embedding under two of them stays one
        for name, source in sources.items():
            if name not in expected or source in placed:
                continue
            as_stored = elsewhere or device.type == "cpu" or is_fp8(file.dtype(source))
            if name.startswith(_BLOCKS) and as_stored:
                placed[source] = file.load(source, device="cpu" if elsewhere else device)
            else:
                placed[source] = file.load(source, dtype=dtype, device=device)
    state = {name: placed[sources[name]] for name in expected}
    model.load_state_dict(state, assign=True)
    model.eval().requires_grad_(False)
    layers = model.get_submodule(_BLOCKS.removesuffix(".")).children()
    cast_while_running(layers, dtype=dtype, device=device)
    return model
