"""Adapters have sd-scripts' names, shapes and arithmetic, and leave the base as it is."""

import json
import math

import pytest
import torch
from torch.nn import functional

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flux import Flux, FluxGeometry
from fluxgym_tui.trainer.linear import Linear
from fluxgym_tui.trainer.lora import LoraLayer, LoraNetwork, create_lora, lora_from_state
from tests.trainer.parity import PARITY, relative, tiny_flux, vectors

pytestmark = pytest.mark.usefixtures("one_thread")

FORMAT = PARITY.parent / "lora_tensors.json"


def forward(model: Flux) -> torch.Tensor:
    names = ("img", "img_ids", "txt", "txt_ids", "timesteps", "y", "guidance")
    result: torch.Tensor = model(**{name: vectors("forward")[name] for name in names})
    return result


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_names_and_shapes_are_those_of_networks_lora_flux() -> None:
    expected = {key: tuple(shape) for key, shape in json.loads(FORMAT.read_text(encoding="utf-8")).items()}
    state = create_lora(tiny_flux(), network_dim=4).lora_state()
    assert {key: tuple(value.shape) for key, value in state.items()} == expected


def test_flux1_has_304_modules() -> None:
    with torch.device("meta"):
        model = Flux(FluxGeometry())
    network = create_lora(model, network_dim=1)
    assert len(network.layers) == 304


def test_a_fresh_network_changes_nothing_and_starts_as_kaiming_uniform() -> None:
    model = tiny_flux()
    with torch.no_grad():
        before = forward(model)
        network = create_lora(model, network_dim=16, generator=seeded())
        assert torch.equal(forward(model), before)
    for key, tensor in network.lora_state().items():
        if key.endswith("lora_up.weight"):
            assert torch.count_nonzero(tensor) == 0
        elif key.endswith("lora_down.weight"):
            bound = 1 / math.sqrt(tensor.shape[1])
            assert float(tensor.abs().max()) <= bound
            assert float(tensor.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_a_seed_decides_the_start() -> None:
    first, again, other = (
        create_lora(tiny_flux(), generator=seeded(seed)).lora_state()[
            "lora_unet_single_blocks_0_linear1.lora_down.weight"
        ]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("dim", "alpha", "scale"), [(4, 1.0, 0.25), (4, 8.0, 2.0), (8, 0.0, 1.0), (8, None, 1.0), (None, 1.0, 0.25)]
)
def test_rank_and_alpha_as_sd_scripts_takes_them(dim: int | None, alpha: float | None, scale: float) -> None:
    network = create_lora(tiny_flux(), network_dim=dim, network_alpha=alpha)
    state = network.lora_state()
    name = "lora_unet_double_blocks_0_img_mlp_0"
    rank = state[f"{name}.lora_down.weight"].shape[0]
    assert float(state[f"{name}.alpha"]) / rank == scale


def test_the_sum_and_its_gradients_are_those_of_the_formula() -> None:
    model = tiny_flux()
    network = create_lora(model, network_dim=3, network_alpha=2.0, generator=seeded())
    linear = model.get_submodule("double_blocks.0.img_mlp.0")
    assert isinstance(linear, torch.nn.Linear)
    parameters = dict(network.named_parameters())
    down, up = (parameters[f"layers.lora_unet_double_blocks_0_img_mlp_0.{part}"] for part in ("down", "up"))
    with torch.no_grad():
        up.normal_(generator=seeded())
    network.multiplier = 0.5
    x = torch.randn(2, 5, 64, generator=seeded(), requires_grad=True)
    weight = torch.randn(2, 5, 256, generator=seeded())

    found = linear(x)
    (found * weight).sum().backward()
    gradients = [tensor.grad for tensor in (x, down, up)]
    expected = functional.linear(x, linear.weight, linear.bias) + functional.linear(functional.linear(x, down), up) * (
        2.0 / 3 * 0.5
    )
    assert relative(found, expected) < 1e-5
    for gradient, want in zip(gradients, torch.autograd.grad((expected * weight).sum(), (x, down, up)), strict=True):
        assert gradient is not None
        assert relative(gradient, want) < 1e-5
    assert linear.weight.grad is None


def test_the_base_keeps_its_state_and_gets_its_linears_back() -> None:
    model = tiny_flux()
    with torch.no_grad():
        before = forward(model)
        network = create_lora(model, generator=seeded())
        assert model.state_dict().keys() == vectors("flux_tiny_bfl").keys()
        for parameter in network.parameters():
            parameter.fill_(0.1)
        changed = forward(model)
        assert relative(changed, before) > 1e-3
        network.multiplier = 0.0
        assert torch.equal(forward(model), before)
        network.multiplier = 1.0
        network.detach()
        assert torch.equal(forward(model), before)
        network.attach()
        assert torch.equal(forward(model), changed)


def test_unknown_arguments_are_refused_by_name() -> None:
    with pytest.raises(FluxgymError, match="conv_dim"):
        create_lora(tiny_flux(), network_args={"conv_dim": "4"})
    with pytest.raises(FluxgymError, match="network_dim 0"):
        create_lora(tiny_flux(), network_dim=0)


def test_a_file_comes_back_with_every_key_used() -> None:
    state = {
        key: torch.randn(value.shape, generator=seeded())
        for key, value in create_lora(tiny_flux(), network_dim=2).lora_state().items()
    }
    network = lora_from_state(tiny_flux(), state, source="a.safetensors", multiplier=0.7)
    assert network.multiplier == 0.7
    for key, tensor in network.lora_state().items():
        assert torch.equal(tensor, state[key]), key


def test_ranks_may_differ_between_layers() -> None:
    wide = create_lora(tiny_flux(), network_dim=6, network_args={"train_blocks": "single"}).lora_state()
    narrow = create_lora(tiny_flux(), network_dim=2, network_args={"train_blocks": "double"}).lora_state()
    network = lora_from_state(tiny_flux(), wide | narrow, source="mixed")
    assert network.lora_state().keys() == wide.keys() | narrow.keys()
    forward(tiny_flux())


def test_a_loaded_alpha_counts_at_once() -> None:
    model, other = tiny_flux(), tiny_flux()
    network = create_lora(model, network_dim=4, network_alpha=1.0)
    state = {key: torch.full_like(value, 0.1) for key, value in network.lora_state().items()}
    state = {key: torch.tensor(8.0) if key.endswith("alpha") else value for key, value in state.items()}
    network.load_lora_state(state, source="a")
    lora_from_state(other, state, source="a")
    with torch.no_grad():
        assert torch.equal(forward(model), forward(other))


def test_what_does_not_fit_is_told() -> None:
    state = create_lora(tiny_flux(), network_dim=2).lora_state()
    name = "lora_unet_single_blocks_0_linear1"
    network = create_lora(tiny_flux(), network_dim=2)
    with pytest.raises(FluxgymError, match="no place"):
        network.load_lora_state(state | {"lora_te1_x.alpha": torch.ones(())}, source="x")
    with pytest.raises(FluxgymError, match=rf"missing, the first is {name}.alpha"):
        network.load_lora_state({key: value for key, value in state.items() if key != f"{name}.alpha"}, source="x")
    with pytest.raises(FluxgymError, match="shape"):
        create_lora(tiny_flux(), network_dim=3).load_lora_state(state, source="x")
    with pytest.raises(FluxgymError, match="lora_te1_text"):
        lora_from_state(tiny_flux(), {"lora_te1_text.lora_down.weight": torch.ones(1, 1)}, source="x")
    with pytest.raises(FluxgymError, match="no place"):
        lora_from_state(tiny_flux(), state | {f"{name}.dora_scale": torch.ones(1)}, source="x")


def test_a_bf16_base_trains_float32_adapters() -> None:
    model = tiny_flux(torch.bfloat16)
    network = create_lora(model, generator=seeded())
    forward(model).float().square().mean().backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == torch.float32


# The first three values of down and up that sd-scripts' own limit of 0.5 leaves, by how large down was.
LIMITED = {
    0.1: ([-0.08, -0.07, -0.06], [-0.6, -0.5, -0.4]),
    0.6: ([-0.4424425, -0.3871372, -0.3318319], [-0.5530531, -0.4608776, -0.3687021]),
    3.0: ([-0.9893315, -0.8656650, -0.7419987], [-0.2473329, -0.2061107, -0.1648886]),
}


@pytest.mark.parametrize("size", LIMITED)
def test_norms_are_limited_as_in_sd_scripts(size: float) -> None:
    layer = LoraLayer(Linear(6, 5), network_dim=3, network_alpha=2.0, generator=None)
    with torch.no_grad():
        layer.down.copy_(torch.arange(18.0).view(3, 6).sub(8) / 10 * size)
        layer.up.copy_(torch.arange(15.0).view(5, 3).sub(6) / 10)
    LoraNetwork({}, {"layer": layer}).limit_norms(0.5)
    down, up = LIMITED[size]
    assert layer.down[0, :3].tolist() == pytest.approx(down, rel=1e-5)
    assert layer.up[0].tolist() == pytest.approx(up, rel=1e-5)


def test_a_fresh_layer_has_no_norm_to_limit() -> None:
    network = create_lora(tiny_flux(), generator=seeded())
    before = {key: value.clone() for key, value in network.lora_state().items()}
    network.limit_norms(0.5)
    assert all(torch.equal(value, before[key]) for key, value in network.lora_state().items())
