"""Blocks whose weights stay as they were loaded, in fewer bits or elsewhere, and are cast while they run."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def cast_while_running(blocks: Iterable[nn.Module], *, dtype: torch.dtype, device: torch.device) -> None:
    """Let each of `blocks` compute in `dtype` on `device`, with copies of its weights that are gone when it is done.

    The numbers are those of a model that was cast as a whole. For frozen models: copies get no gradients.
    """
    for block in blocks:
        parameters = list(block.parameters())
        if any(parameter.dtype != dtype or parameter.device != device for parameter in parameters):
            kept: list[Tensor] = []
            block.register_forward_pre_hook(partial(_place, parameters, kept, dtype, device))
            block.register_forward_hook(partial(_put_back, parameters, kept), always_call=True)


def _place(
    parameters: list[nn.Parameter], kept: list[Tensor], dtype: torch.dtype, device: torch.device, *_call: Any
) -> None:
    kept[:] = [parameter.data for parameter in parameters]
    for parameter in parameters:
        parameter.data = parameter.data.to(device).to(dtype)


def _put_back(parameters: list[nn.Parameter], kept: list[Tensor], *_call: Any) -> None:
    for parameter, data in zip(parameters, kept, strict=True):
        parameter.data = data
    kept.clear()
