"""Blocks whose weights wait in the CPU's memory and come to the device for their turn.

The base never changes while a LoRA learns, so nothing goes back: a copy is fetched before a block computes, one block
ahead of time, and is freed when the last of its uses is over. Two blocks' copies are on the device at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fluxgym_tui.trainer.linear import Linear

KEPT_BLOCKS = 2  # of each kind, at least, as in sd-scripts


def swapped_blocks(blocks_to_swap: int, *, depth: int, depth_single_blocks: int) -> tuple[list[int], list[int]]:
    """Which double and which single blocks `--blocks_to_swap` means.

    As in sd-scripts n are n // 2 double and 2 (n - n // 2) single ones, and two of each kind stay: among these the
    last, where the backward pass begins. A model that has fewer swaps all others of a kind (sd-scripts refuses it).
    They are spread evenly, so that the blocks between them give the copies time.
    """
    double = min(blocks_to_swap // 2, max(0, depth - KEPT_BLOCKS))
    single = min(2 * (blocks_to_swap - blocks_to_swap // 2), max(0, depth_single_blocks - KEPT_BLOCKS))
    return _spread(double, depth - 1), _spread(single, depth_single_blocks - 1)


def _spread(count: int, among: int) -> list[int]:
    """`count` of the numbers below `among`, evenly."""
    return [index for index in range(among) if (index + 1) * count // among > index * count // among]


class BlockSwap:
    """Brings the linear weights of `blocks`, which are run in this order, to `device` while they are used."""

    def __init__(self, blocks: Sequence[nn.Module], *, device: torch.device) -> None:
        self._linears = [[part for part in block.modules() if isinstance(part, Linear)] for block in blocks]
        self._index = {block: index for index, block in enumerate(blocks)}
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._ahead: tuple[int, list[Tensor], torch.cuda.Event | None] | None = None
        self._last = -1

    def __len__(self) -> int:
        return len(self._linears)

    def __contains__(self, block: nn.Module) -> bool:
        return block in self._index

    @contextmanager
    def placed(self, block: nn.Module) -> Iterator[None]:
        """Within it `block` computes on the device; what the backward pass needs stays there until it was used."""
        index = self._index[block]
        linears = self._linears[index]
        for linear, weight in zip(linears, self._take(index), strict=True):
            linear.placed = weight
        try:
            yield
        finally:
            for linear in linears:
                linear.placed = None

    def _take(self, index: int) -> list[Tensor]:
        """The copies of block `index`, and the next one's on their way."""
        if self._ahead is None or self._ahead[0] != index:
            self._forget()
            self._fetch(index)
        assert self._ahead is not None
        weights = self._wait()
        # The backward pass takes the blocks in turn from the last; a guess that is wrong costs time alone.
        following = index - 1 if index <= self._last else index + 1
        self._last = index
        if 0 <= following < len(self._linears):
            self._fetch(following)
        return weights

    def _fetch(self, index: int) -> None:
        weights = [linear.weight.detach() for linear in self._linears[index]]
        # Made on the computing stream: their memory goes back to it, in its order, however the copies end.
        copies = [torch.empty_like(weight, device=self._device) for weight in weights]
        if self._copies is None:
            self._ahead = (index, [copy.copy_(weight) for copy, weight in zip(copies, weights, strict=True)], None)
            return
        self._copies.wait_stream(torch.cuda.current_stream(self._device))  # that memory may still be read
        with torch.cuda.stream(self._copies):
            for copy, weight in zip(copies, weights, strict=True):
                copy.copy_(weight, non_blocking=True)
            self._ahead = (index, copies, self._copies.record_event())

    def _wait(self) -> list[Tensor]:
        """The fetched copies; what is computed from now on comes after their arrival."""
        assert self._ahead is not None
        _, copies, arrived = self._ahead
        self._ahead = None
        if arrived is not None:
            torch.cuda.current_stream(self._device).wait_event(arrived)
        return copies

    def _forget(self) -> None:
        """Let go of copies that nobody takes; they must have arrived before their memory is used again."""
        if self._ahead is not None:
            self._wait()
