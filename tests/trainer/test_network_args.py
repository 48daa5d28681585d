"""Network arguments: the layers and ranks that sd-scripts would adapt, dropout by its formula, LoRA+'s two groups."""

import json
from typing import Any

import pytest
import torch
from torch.nn import functional

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flow import FlowBatch, FlowSettings, flow_losses
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.lora import DropoutShares, LoraNetwork, SeededDropout, create_lora
from fluxgym_tui.trainer.network_args import read_network_arguments
from tests.trainer.parity import PARITY, relative, section, tiny_flux, vectors

pytestmark = pytest.mark.usefixtures("one_thread")

# Made by sd-scripts' own networks.lora_flux (commit 48d368fa), network_dim 4, two blocks of each kind.
RANKS: list[dict[str, Any]] = json.loads((PARITY.parent / "lora_ranks.json").read_text(encoding="utf-8"))


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("case", RANKS, ids=lambda case: " ".join(case["network_args"]))
def test_layers_and_ranks_are_sd_scripts_own(case: dict[str, Any]) -> None:
    network = create_lora(tiny_flux(), network_dim=4, network_alpha=2.0, network_args=case["network_args"])
    state = network.lora_state()
    ranks = {name: state[f"{name}.lora_down.weight"].shape[0] for name in network.layers}
    assert ranks == case["ranks"]
    assert {float(state[f"{name}.alpha"]) for name in ranks} == {2.0}


def test_without_an_alpha_each_layer_has_its_own_rank_as_alpha() -> None:
    state = create_lora(tiny_flux(), network_alpha=0, network_args={"single_dim": "7"}).lora_state()
    assert float(state["lora_unet_single_blocks_0_linear1.alpha"]) == 7
    assert float(state["lora_unet_double_blocks_0_img_mlp_0.alpha"]) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"in_dims": "[4,4,4,4,4]"}, "in_dims="),
        ({"train_blocks": "both"}, "train_blocks=both"),
        ({"train_double_block_indices": "1-"}, "train_double_block_indices=1-"),
        ({"train_double_block_indices": "1-0"}, "train_double_block_indices=1-0"),
        ({"train_single_block_indices": "-1"}, "train_single_block_indices=-1"),
        ({"img_attn_dim": "-4"}, "img_attn_dim=-4"),
        ({"txt_mlp_dim": "4.5"}, "txt_mlp_dim=4.5"),
        ({"rank_dropout": "1"}, "rank_dropout=1"),
        ({"module_dropout": "nan"}, "module_dropout=nan"),
        ({"rank_dropout": "some"}, "rank_dropout=some"),
        ({"loraplus_lr_ratio": "0"}, "loraplus_lr_ratio=0"),
        ({"loraplus_unet_lr_ratio": "inf"}, "loraplus_unet_lr_ratio=inf"),
        ({"loraplus_text_encoder_lr_ratio": "-1"}, "loraplus_text_encoder_lr_ratio=-1"),
    ],
)
def test_what_cannot_be_taken_is_named(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(FluxgymError, match=words.replace("[", r"\[")):
        read_network_arguments(arguments)


def test_blocks_that_the_model_lacks_and_networks_without_layers_are_refused() -> None:
    with pytest.raises(FluxgymError, match="train_single_block_indices: there is no block 2"):
        create_lora(tiny_flux(), network_args={"train_single_block_indices": "0-3"})
    with pytest.raises(FluxgymError, match="no layer"):
        create_lora(tiny_flux(), network_args={"train_blocks": "single", "train_single_block_indices": "none"})


@pytest.mark.parametrize("shape", [(4, 4000), (3, 1000, 4)], ids=["vectors", "tokens"])
def test_values_are_left_out_and_the_rest_raised(shape: tuple[int, ...]) -> None:
    dropped = SeededDropout(shares=DropoutShares(values=0.25), seed=1)(torch.ones(shape))
    assert dropped is not None
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0.0, 1 / 0.75])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.02)


def test_ranks_are_left_out_for_all_tokens_of_a_picture() -> None:
    dropped = SeededDropout(shares=DropoutShares(ranks=0.25), seed=1)(torch.ones(30, 5, 100))
    assert dropped is not None
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert not torch.equal(dropped[0], dropped[1])
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0.0, 1 / 0.75])
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.04)


def test_whole_adapters_are_left_out_and_the_rest_stay_as_they_are() -> None:
    hidden = torch.ones(1, 2, 3)
    kept = [SeededDropout(shares=DropoutShares(modules=0.25), seed=seed)(hidden) for seed in range(400)]
    assert sum(one is None for one in kept) / 400 == pytest.approx(0.25, abs=0.08)
    assert all(torch.equal(one, hidden) for one in kept if one is not None)


def grown(model: Flux, **more: Any) -> LoraNetwork:
    """Adapters that already add something."""
    network = create_lora(model, generator=seeded(), **more)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1, generator=seeded(parameter.numel()))
    return network


def loss(model: Flux) -> torch.Tensor:
    step, data = section(vectors("traj_A_shift_raw"), "step00"), section(vectors("traj_A_shift_raw"), "data")
    batch = FlowBatch(
        latents=data["latents"][:2],
        t5_out=data["t5_out"][:2],
        txt_ids=torch.zeros(2, 24, 3),
        l_pooled=data["l_pooled"][:2],
        t5_attn_mask=data["t5_attn_mask"][:2],
        loss_weights=torch.ones(2),
    )
    return flow_losses(model, batch=batch, noise=step["noise"], sigmas=step["sigmas"], settings=FlowSettings()).mean()


def test_dropout_is_only_where_it_is_asked_for_and_follows_the_generator() -> None:
    model = tiny_flux()
    network = grown(model, network_dropout=0.3, network_args={"rank_dropout": "0.3", "module_dropout": "0.2"})
    with torch.no_grad():
        whole = loss(model)
        found = []
        for seed in (1, 1, 2):
            with network.dropping(seeded(seed)):
                found.append(loss(model))
        assert torch.equal(found[0], found[1])
        assert len({float(one) for one in (*found, whole)}) == 3
        assert torch.equal(loss(model), whole)


def test_a_layer_adds_what_is_left() -> None:
    model = tiny_flux()
    network = grown(model, network_dropout=0.4, network_args={"rank_dropout": "0.2"})
    name = "lora_unet_double_blocks_0_img_mlp_0"
    linear = model.get_submodule("double_blocks.0.img_mlp.0")
    parts = dict(network.named_parameters())
    down, up = parts[f"layers.{name}.down"], parts[f"layers.{name}.up"]
    x = torch.randn(2, 5, 64, generator=seeded(), requires_grad=True)
    seed = int(torch.randint(2**62, (), generator=seeded(3))) + list(network.layers).index(name)
    with network.dropping(seeded(3)):
        found = linear(x)
    hidden = SeededDropout(shares=DropoutShares(values=0.4, ranks=0.2), seed=seed)(functional.linear(x, down))
    assert hidden is not None
    assert 0 < torch.count_nonzero(hidden) < hidden.numel()
    assert isinstance(linear, torch.nn.Linear)
    expected = functional.linear(x, linear.weight, linear.bias) + functional.linear(hidden, up) / 4
    assert relative(found, expected) < 1e-5
    weight = torch.randn(found.shape, generator=seeded())
    wanted = torch.autograd.grad((expected * weight).sum(), (x, down, up))
    for gradient, want in zip(torch.autograd.grad((found * weight).sum(), (x, down, up)), wanted, strict=True):
        assert relative(gradient, want) < 1e-5


def test_checkpointing_leaves_out_the_same() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = tiny_flux()
        model.gradient_checkpointing = checkpointing
        network = grown(model, network_dropout=0.3, network_args={"rank_dropout": "0.3", "module_dropout": "0.2"})
        with network.dropping(seeded(1)):
            loss(model).backward()  # type: ignore[no-untyped-call]
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    plain, again = gradients
    left_out = {name for name, gradient in plain.items() if gradient is None}
    assert 0 < len(left_out) < len(plain) / 2
    for name, gradient in plain.items():
        other = again[name]
        if gradient is None or other is None:
            assert gradient is other, name
        else:
            assert torch.allclose(gradient, other, rtol=1e-4, atol=1e-7), name


def test_nothing_is_drawn_without_dropout() -> None:
    generator = seeded()
    with create_lora(tiny_flux()).dropping(generator):
        pass
    assert torch.equal(generator.get_state(), seeded().get_state())


@pytest.mark.parametrize(
    ("arguments", "ratio"),
    [
        ({"loraplus_lr_ratio": "4"}, 4.0),
        (
            {"loraplus_lr_ratio": "4", "loraplus_unet_lr_ratio": "8"},
            8.0,
        ),  # sd-scripts: the transformer's own comes first
    ],
)
def test_up_learns_faster_with_loraplus(arguments: dict[str, str], ratio: float) -> None:
    network = create_lora(tiny_flux(), network_args=arguments)
    down, up = network.parameter_groups(learning_rate=1e-4)
    assert [down.learning_rate, up.learning_rate] == pytest.approx([1e-4, ratio * 1e-4])
    assert (down.name, up.name) == ("unet", "unet plus")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert {names[id(one)].rpartition(".")[2] for one in down.parameters} == {"down"}
    assert {names[id(one)].rpartition(".")[2] for one in up.parameters} == {"up"}
    assert len(down.parameters) == len(up.parameters) == 26
    (alone,) = create_lora(tiny_flux()).parameter_groups(learning_rate=1e-4)
    assert len(alone.parameters) == 52
