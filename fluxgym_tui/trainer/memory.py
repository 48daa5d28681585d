"""How much of a GPU's memory a training takes, computed from the model's sizes. Imports no torch.

C is the hidden size, M the MLP's width, L the tokens of picture and caption together, r the rank.
"""

from dataclasses import dataclass

GIB = 1024**3
BF16_BYTES, FP8_BYTES, F32_BYTES = 2, 1, 4
PATCH_PX = 16  # a token stands for so many pixels in either direction

# Numbers of C that a token leaves for the backward pass of one block, and as many again in flight as gradients and
# temporaries: the first is counted by a test, the second is assumed.
KEPT_IN_BLOCK = 27
IN_FLIGHT = 20
# Numbers of C that a token leaves of a block that is computed again: its input, and attention's output.
KEPT_OF_BLOCK = 2
# CUDA's context and libraries, and what the allocator cannot use: assumed.
OVERHEAD_BYTES = 1_200_000_000


@dataclass(frozen=True, kw_only=True)
class FluxSizes:
    """The sizes that memory depends on; FLUX.1-dev's by default."""

    hidden_size: int = 3072
    mlp_size: int = 12288
    depth: int = 19
    depth_single_blocks: int = 38
    context_in_dim: int = 4096
    vec_in_dim: int = 768
    channels: int = 64

    def double_block(self) -> int:
        """Numbers in the matrices of a double block: of each stream modulation, qkv, projection and MLP."""
        C, M = self.hidden_size, self.mlp_size
        return 2 * (6 * C * C + 3 * C * C + C * C + 2 * C * M)

    def single_block(self) -> int:
        """Numbers in the matrices of a single block: both linears and the modulation."""
        C, M = self.hidden_size, self.mlp_size
        return C * (3 * C + M) + (C + M) * C + 3 * C * C

    def outside(self) -> int:
        """Numbers in what is never swapped and never fp8: the embedders and the last layer (without biases)."""
        C = self.hidden_size
        embedders = 2 * (256 * C + C * C) + self.vec_in_dim * C + C * C
        return embedders + (2 * self.channels + self.context_in_dim) * C + 2 * C * C

    def lora(self, rank: int) -> int:
        """Numbers in adapters of all matrices of the blocks: r of the inputs and outputs of each."""
        C, M = self.hidden_size, self.mlp_size
        double = 2 * (7 * C + 4 * C + 2 * C + 2 * (C + M))
        single = (4 * C + M) + (2 * C + M) + 4 * C
        return rank * (self.depth * double + self.depth_single_blocks * single)


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes on the device while training, with gradient checkpointing and AdamW, in bf16."""

    weights: int
    lora: int
    activations: int
    overhead: int = OVERHEAD_BYTES

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.lora + self.activations + self.overhead


def estimate_memory(
    pixels: int,
    *,
    fp8_base: bool = False,
    blocks_to_swap: int = 0,
    network_dim: int = 16,
    batch_size: int = 1,
    caption_tokens: int = 512,
    sizes: FluxSizes | None = None,
) -> MemoryEstimate:
    """What training pictures of `pixels` (width times height) takes.

    Weights: the blocks in fp8 or bf16, without those that are swapped, but with room for the two that are there at a
    time, and for the one matrix of fp8 that is cast. LoRA: weight, gradient and two moments of AdamW in float32, and
    one more for its step. Activations: see the constants above.
    """
    sizes = sizes or FluxSizes()
    double_swapped = blocks_to_swap // 2
    single_swapped = 2 * (blocks_to_swap - double_swapped)
    blocks = (sizes.depth - double_swapped) * sizes.double_block()
    blocks += (sizes.depth_single_blocks - single_swapped) * sizes.single_block()
    if blocks_to_swap:
        blocks += 2 * sizes.double_block()
    cast = sizes.hidden_size * (3 * sizes.hidden_size + sizes.mlp_size) * BF16_BYTES if fp8_base else 0
    tokens = batch_size * (pixels // PATCH_PX**2 + caption_tokens)
    kept = KEPT_OF_BLOCK * (sizes.depth + sizes.depth_single_blocks) + KEPT_IN_BLOCK + IN_FLIGHT
    return MemoryEstimate(
        weights=blocks * (FP8_BYTES if fp8_base else BF16_BYTES) + cast + sizes.outside() * BF16_BYTES,
        lora=5 * F32_BYTES * sizes.lora(network_dim),
        activations=kept * tokens * sizes.hidden_size * BF16_BYTES,
    )
