"""Linear layers that are fast where torch's own are not, and that an adapter can add to.

x (..., in), weight (out, in), y (..., out); N tokens of all pictures together, r the rank of an adapter.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Below so many multiply-adds the faster kernel saves nothing, and torch's own is kept.
SMALLEST_PRODUCT = 2**23
HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Dropout(Protocol):
    """What is left out of an adapter while it learns."""

    def __call__(self, hidden: Tensor) -> Tensor | None:
        """`hidden` (..., r) = down(x) with parts of it left out; None where the whole adapter is."""


class Adapter(NamedTuple):
    """What a LoRA adds to a layer: up(down(x)) scale, with `down` (r, in) and `up` (out, r)."""

    down: Tensor
    up: Tensor
    scale: float
    dropout: Dropout | None = None


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) times weight (out, in) transposed, plus bias: (..., out).

    torch multiplies float32 matrices on the CPU with MKL, which runs at half speed on AMD; its oneDNN does not.
    """
    if (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() * weight.shape[0] >= SMALLEST_PRODUCT
        and HAS_ONEDNN
    ):
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)


class _LinearProduct(torch.autograd.Function):
    """A layer and its adapter as one operation.

    Left to autograd, the sum costs a copy of the output on the way forth and one of the input's gradient on the way
    back, and a base that is stored in another precision would be kept a second time, cast.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd functions take no keywords
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor | None,
        up: Tensor | None,
        scale: float,
    ) -> Tensor:
        y = product(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        flat, hidden = x.reshape(-1, x.shape[-1]), None
        if down is not None and up is not None:
            hidden = product(flat, down.to(x.dtype))
            y.view(-1, y.shape[-1]).addmm_(hidden, up.to(x.dtype).t(), alpha=scale)
        ctx.save_for_backward(flat, hidden, weight, down, up)
        ctx.scale = scale
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, hidden, weight, down, up = ctx.saved_tensors
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        grad_y = grad.reshape(-1, grad.shape[-1])
        grad_x = product(grad_y, weight.to(grad.dtype).t()) if need_x else None
        grad_down = grad_up = None
        if hidden is not None:
            grad_hidden = (grad_y @ up.to(grad.dtype)).mul_(ctx.scale)
            grad_down = (grad_hidden.t() @ flat).to(down.dtype)
            grad_up = (grad_y.t() @ hidden).to(up.dtype).mul_(ctx.scale)
            if grad_x is not None:
                grad_x.addmm_(grad_hidden, down.to(grad.dtype))
        if grad_x is not None:
            grad_x = grad_x.view(*grad.shape[:-1], grad_x.shape[-1])
        grad_weight = product(grad_y.t(), flat.t()).to(weight.dtype) if need_weight else None
        return grad_x, grad_weight, grad_y.sum(dim=0) if need_bias else None, grad_down, grad_up, None


class Linear(nn.Linear):
    """torch's linear layer, computed by `product`; `adapter` is added to it where there is one.

    `placed` is the weight on the device where the layer computes, for as long as `weight` itself lies elsewhere.
    Neither is part of the layer's parameters and state.
    """

    adapter: Adapter | None = None
    placed: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the layer computes. A weight may lie elsewhere between its uses; a bias does not."""
        return self.weight.device if self.bias is None else self.bias.device

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if self.adapter is None and torch.is_autocast_enabled(x.device.type):
            return F.linear(x, self._weight(), self.bias)
        down, up, scale, dropout = self.adapter or (None, None, 1.0, None)
        if down is None or up is None or dropout is None:
            return self._product(x, down, up, scale)
        hidden = dropout(F.linear(x, down.to(x.dtype)))
        y = self._product(x, None, None, scale)
        return y if hidden is None else y + F.linear(hidden, up.to(x.dtype)) * scale

    def _product(self, x: Tensor, down: Tensor | None, up: Tensor | None, scale: float) -> Tensor:
        y: Tensor = _LinearProduct.apply(  # type: ignore[no-untyped-call]
            x, self._weight(), self.bias, down, up, scale
        )
        return y

    def _weight(self) -> Tensor:
        return self.weight if self.placed is None else self.placed
