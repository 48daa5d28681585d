"""The fast layer is torch's layer: the same sums, the same gradients, with and without an adapter."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fluxgym_tui.trainer import linear as module
from fluxgym_tui.trainer.linear import Adapter, Linear, product
from tests.trainer.parity import relative

pytestmark = pytest.mark.usefixtures("one_thread")

LARGE = (520, 128, 140)  # tokens, in, out: above SMALLEST_PRODUCT
SMALL = (7, 12, 20)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def test_large_is_large() -> None:
    tokens, inside, outside = LARGE
    assert tokens * inside * outside >= module.SMALLEST_PRODUCT
    assert product(normal(tokens, inside), normal(outside, inside)).shape == (tokens, outside)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [SMALL, LARGE])
@pytest.mark.parametrize("adapted", [False, True])
def test_outputs_and_gradients_are_those_of_the_formula(
    shape: tuple[int, int, int], dtype: torch.dtype, *, adapted: bool
) -> None:
    tokens, inside, outside = shape
    layer = Linear(inside, outside).to(dtype)
    down, up, scale = normal(4, inside).requires_grad_(), normal(outside, 4).requires_grad_(), 0.5
    x = normal(2, tokens, inside, dtype=dtype).requires_grad_()
    towards = normal(2, tokens, outside)
    inputs = [x, layer.weight, layer.bias]
    expected = functional.linear(x.float(), layer.weight.float(), layer.bias.float())
    if adapted:
        layer.adapter = Adapter(down=down, up=up, scale=scale)
        inputs += [down, up]
        expected = expected + scale * functional.linear(functional.linear(x.float(), down), up)
    found = layer(x)
    assert found.dtype == dtype
    assert relative(found, expected) < TOLERANCE[dtype]
    wanted = torch.autograd.grad((expected * towards).sum(), inputs)
    for tensor, gradient, want in zip(
        inputs, torch.autograd.grad((found.float() * towards).sum(), inputs), wanted, strict=True
    ):
        assert gradient.dtype == tensor.dtype
        assert relative(gradient, want) < TOLERANCE[dtype]


def test_without_a_bias() -> None:
    layer = Linear(128, 140, bias=False)
    x = normal(520, 128)
    assert relative(layer(x), functional.linear(x, layer.weight)) < 1e-5


def test_a_frozen_layer_gets_no_gradient() -> None:
    layer = Linear(12, 20).requires_grad_(False)
    x = normal(7, 12).requires_grad_()
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert x.grad is not None


def test_autocast_is_obeyed_where_nothing_is_adapted() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(12, 20)(normal(7, 12)).dtype == torch.bfloat16


def test_an_adapter_is_no_part_of_the_state() -> None:
    layer = Linear(12, 20)
    layer.adapter = Adapter(down=normal(2, 12), up=normal(20, 2), scale=1.0)
    assert layer.state_dict().keys() == {"weight", "bias"}
