"""What a training writes to disk, in bytes: LoRA files and caches, by arithmetic from the model's widths."""

from dataclasses import dataclass

from fluxgym_tui.plan.buckets import Size

LATENT_CHANNELS = 16
LATENT_SCALE = 8  # one latent pixel a side for so many pixels of the picture
T5_TOKENS = 512
T5_WIDTH = 4096
CLIP_WIDTH = 768
# The two parts of a file besides its tensors: what the header says of one tensor, and kohya's 90 metadata fields.
_HEADER_BYTES_A_TENSOR = 120
_METADATA_BYTES = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxShape:
    """The widths of a FLUX transformer that decide the size of its LoRA; the defaults are FLUX.1's."""

    double_blocks: int = 19
    single_blocks: int = 38
    hidden: int = 3072
    mlp_ratio: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipShape:
    """The widths of a CLIP text encoder; the defaults are CLIP-L's."""

    layers: int = 12
    hidden: int = 768
    intermediate: int = 3072


FLUX_1 = FluxShape()
CLIP_L = ClipShape()


def lora_linears(shape: FluxShape = FLUX_1) -> list[Size]:
    """(inputs, outputs) of the linears that `networks.lora_flux` adapts by default: 10 a double block, 3 a single."""
    hidden, mlp = shape.hidden, int(shape.hidden * shape.mlp_ratio)
    stream = [(hidden, 6 * hidden), (hidden, 3 * hidden), (hidden, hidden), (hidden, mlp), (mlp, hidden)]
    single = [(hidden, 3 * hidden + mlp), (hidden + mlp, hidden), (hidden, 3 * hidden)]
    return stream * 2 * shape.double_blocks + single * shape.single_blocks


def clip_linears(shape: ClipShape = CLIP_L) -> list[Size]:
    """(inputs, outputs) of the linears of a CLIP text encoder that get a LoRA: 6 a layer."""
    attention = [(shape.hidden, shape.hidden)] * 4
    mlp = [(shape.hidden, shape.intermediate), (shape.intermediate, shape.hidden)]
    return (attention + mlp) * shape.layers


def lora_tensor_bytes(linears: list[Size], *, network_dim: int, value_bytes: int = 2) -> int:
    """The tensors of a LoRA of rank `network_dim`: down, up and alpha for each linear."""
    return sum(network_dim * (inputs + outputs) + 1 for inputs, outputs in linears) * value_bytes


def lora_file_bytes(
    *,
    network_dim: int,
    shape: FluxShape = FLUX_1,
    train_clip_l: bool = False,
    clip: ClipShape = CLIP_L,
    value_bytes: int = 2,
) -> int:
    """One LoRA file; exact in the tensors, within a few kilobytes in the header."""
    linears = lora_linears(shape) + (clip_linears(clip) if train_clip_l else [])
    header = 3 * len(linears) * _HEADER_BYTES_A_TENSOR + _METADATA_BYTES
    return lora_tensor_bytes(linears, network_dim=network_dim, value_bytes=value_bytes) + header


def latent_cache_bytes(bucket: Size, *, flipped: bool = False) -> int:
    """The cached latents of one picture that is trained as `bucket`, in fp32; twice that where flips are cached too."""
    width, height = bucket[0] // LATENT_SCALE, bucket[1] // LATENT_SCALE
    return LATENT_CHANNELS * width * height * 4 * (2 if flipped else 1)


def text_cache_bytes(*, tokens: int = T5_TOKENS, t5_width: int = T5_WIDTH, clip_width: int = CLIP_WIDTH) -> int:
    """The cached text encoder outputs of one caption in fp32: T5's and CLIP's, ids and mask."""
    return 4 * (tokens * t5_width + clip_width + 3 * tokens) + 8 * tokens
