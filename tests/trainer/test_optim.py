"""Optimisers and schedules are the ones that sd-scripts' names stand for."""

import re
import sys
from typing import Any

import lion_pytorch
import prodigyopt
import pytest
import schedulefree
import torch
from torch import nn

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.flag_table import FLAGS
from fluxgym_tui.trainer.optim import (
    OPTIMIZERS,
    ScheduleSettings,
    averaged,
    build_optimizer,
    build_schedule,
    check_schedule,
    clip_gradients,
    finds_its_rate,
    found_rates,
)

pytestmark = pytest.mark.usefixtures("one_thread")

LR = 1e-3
STEPS = 40


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, 8))


def rates(settings: ScheduleSettings, *, steps: int = STEPS) -> list[float]:
    """The learning rate of every update step."""
    optimizer = torch.optim.SGD([parameter()], lr=LR)
    schedule = build_schedule(optimizer, settings=settings, total_steps=steps, learning_rate=LR)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return [float(rate) for rate in found]


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (ScheduleSettings(lr_scheduler="constant"), {}),
        (ScheduleSettings(lr_scheduler="constant_with_warmup", lr_warmup_steps=7), {}),
        (ScheduleSettings(lr_scheduler="linear", lr_warmup_steps=4), {}),
        (ScheduleSettings(lr_scheduler="cosine"), {}),
        (ScheduleSettings(lr_scheduler="cosine", lr_warmup_steps=5), {}),
        (
            ScheduleSettings(lr_scheduler="cosine_with_restarts", lr_warmup_steps=3, lr_scheduler_num_cycles=3),
            {"num_cycles": 3},
        ),
        (ScheduleSettings(lr_scheduler="inverse_sqrt", lr_warmup_steps=7), {}),
        (ScheduleSettings(lr_scheduler="inverse_sqrt"), {}),
        (ScheduleSettings(lr_scheduler="inverse_sqrt", lr_warmup_steps=3, lr_scheduler_timescale=5), {"timescale": 5}),
        # sd-scripts hands over half the number of cycles
        (
            ScheduleSettings(lr_scheduler="cosine_with_min_lr", lr_warmup_steps=3, lr_scheduler_min_lr_ratio=0.2),
            {"min_lr_rate": 0.2, "num_cycles": 0.5},
        ),
        (
            ScheduleSettings(
                lr_scheduler="cosine_with_min_lr", lr_scheduler_min_lr_ratio=0.1, lr_scheduler_num_cycles=3
            ),
            {"min_lr_rate": 0.1, "num_cycles": 1.5},
        ),
        (
            ScheduleSettings(lr_scheduler="warmup_stable_decay", lr_warmup_steps=4, lr_decay_steps=10),
            {"num_decay_steps": 10, "num_cycles": 0.5},
        ),
        (
            ScheduleSettings(
                lr_scheduler="warmup_stable_decay",
                lr_warmup_steps=4,
                lr_decay_steps=0.5,
                lr_scheduler_min_lr_ratio=0.1,
                lr_scheduler_num_cycles=2,
            ),
            {"num_decay_steps": 20, "num_cycles": 1.0, "min_lr_ratio": 0.1},
        ),
        (ScheduleSettings(lr_scheduler="polynomial", lr_warmup_steps=3, lr_scheduler_power=2.0), {"power": 2.0}),
    ],
)
def test_schedules_are_transformers_own(settings: ScheduleSettings, arguments: dict[str, Any]) -> None:
    from transformers import get_scheduler  # slow to import

    optimizer = torch.optim.SGD([parameter()], lr=LR)
    reference = get_scheduler(
        settings.lr_scheduler,
        optimizer,
        num_warmup_steps=int(settings.lr_warmup_steps),
        num_training_steps=STEPS,
        scheduler_specific_kwargs=arguments,
    )
    expected = []
    for _ in range(STEPS):
        expected.append(float(reference.get_last_lr()[0]))
        optimizer.step()
        reference.step()
    assert rates(settings) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_a_rate_in_pieces_is_diffusers_own() -> None:
    from diffusers.optimization import get_piecewise_constant_schedule  # slow to import

    rules = "1:5,0.5:20,0.1:30,0.01"
    optimizer = torch.optim.SGD([parameter()], lr=LR)
    reference = get_piecewise_constant_schedule(optimizer, rules)
    expected = []
    for _ in range(STEPS):
        expected.append(float(reference.get_last_lr()[0]))
        optimizer.step()
        reference.step()
    found = ScheduleSettings(lr_scheduler="piecewise_constant", lr_scheduler_args=(f"step_rules={rules}",))
    assert rates(found) == pytest.approx(expected)


@pytest.mark.parametrize("arguments", [(), ("step_rules=a:1,2",), ("step_rules=1:5,0.1", "power=2"), ("1:5",)])
def test_pieces_that_cannot_be_read_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(FluxgymError, match="step_rules") as refused:
        rates(ScheduleSettings(lr_scheduler="piecewise_constant", lr_scheduler_args=arguments))
    assert "step_rules=1:100" in str(refused.value.hint)


def test_a_float_of_warmup_is_a_share_of_all_steps() -> None:
    share = ScheduleSettings(lr_scheduler="constant_with_warmup", lr_warmup_steps=0.25)
    whole = ScheduleSettings(lr_scheduler="constant_with_warmup", lr_warmup_steps=10)
    assert rates(share) == rates(whole)
    assert rates(share)[5] == pytest.approx(LR / 2)


def test_schedules_that_are_not_honoured_are_refused() -> None:
    with pytest.raises(FluxgymError, match="--lr_scheduler rex"):
        rates(ScheduleSettings(lr_scheduler="rex"))
    with pytest.raises(FluxgymError, match="--lr_warmup_steps has no effect"):
        rates(ScheduleSettings(lr_scheduler="constant", lr_warmup_steps=10))


@pytest.mark.parametrize("name", ["", "AdamW", "adamw", "ADAMW"])
def test_adamw_by_any_case_has_sd_scripts_defaults(name: str) -> None:
    optimizer = build_optimizer([parameter()], optimizer_type=name, learning_rate=LR)
    assert type(optimizer) is torch.optim.AdamW
    defaults = optimizer.defaults
    assert (defaults["lr"], defaults["betas"], defaults["eps"], defaults["weight_decay"]) == (
        LR,
        (0.9, 0.999),
        1e-8,
        0.01,
    )


def test_arguments_reach_the_optimizer() -> None:
    optimizer = build_optimizer(
        [parameter()],
        optimizer_type="AdamW",
        learning_rate=LR,
        optimizer_args=["weight_decay=0.1", "betas=(0.9, 0.99)"],
    )
    assert optimizer.defaults["weight_decay"] == 0.1
    assert optimizer.defaults["betas"] == (0.9, 0.99)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("DAdaptAdam", [], "--optimizer_type DAdaptAdam"),
        ("Lion", ["eps=1e-8"], "Lion has no such argument"),
        ("AdamW", ["d_coef=2"], "d_coef"),
        ("AdamW", ["lr=1"], "lr"),
        ("AdamW", ["weight_decay"], "cannot be read"),
        ("AdamW", ["weight_decay=much"], "cannot be read"),
        ("Adafactor", ["relative_step=False", "amsgrad=True"], "amsgrad"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(name: str, arguments: list[str], words: str) -> None:
    with pytest.raises(FluxgymError, match=re.escape(words)):
        build_optimizer([parameter()], optimizer_type=name, learning_rate=LR, optimizer_args=arguments)


@pytest.mark.parametrize("arguments", [[], ["relative_step=False", "warmup_init=True"], ["clip_threshold=0.5"]])
def test_an_adafactor_that_finds_its_rate_is_transformers_own(arguments: list[str]) -> None:
    from transformers.optimization import Adafactor, AdafactorSchedule  # slow to import

    ours, theirs = parameter(), parameter()
    optimizer = build_optimizer([ours], optimizer_type="Adafactor", learning_rate=LR, optimizer_args=arguments)
    settings = ScheduleSettings(lr_scheduler="adafactor")
    schedule = build_schedule(optimizer, settings=settings, total_steps=STEPS, learning_rate=LR)
    named: dict[str, Any] = {"warmup_init": True} if "warmup_init=True" in arguments else {}
    named |= {"clip_threshold": 0.5} if "clip_threshold=0.5" in arguments else {}
    reference = Adafactor([theirs], lr=None, **named)  # type: ignore[no-untyped-call]
    expected = AdafactorSchedule(reference, LR)  # type: ignore[no-untyped-call]
    for _ in range(4):
        assert finds_its_rate(optimizer)
        assert torch.equal(learned(optimizer, ours, steps=1), learned(reference, theirs, steps=1))
        schedule.step()
        expected.step()
        assert found_rates(optimizer) == [float(rate) for rate in expected.get_last_lr()]
    assert not torch.equal(ours, parameter())


def test_what_an_adafactor_that_finds_its_rate_would_not_follow_is_refused() -> None:
    groups = [{"params": [parameter()], "lr": rate} for rate in (LR, 4 * LR)]
    with pytest.raises(FluxgymError, match="finds one rate for all weights"):
        build_optimizer(groups, optimizer_type="Adafactor", learning_rate=LR)
    relative = build_optimizer([parameter()], optimizer_type="Adafactor", learning_rate=LR)
    plain = build_optimizer([parameter()], optimizer_type="AdamW", learning_rate=LR)
    for optimizer, settings, words in (
        (relative, ScheduleSettings(lr_scheduler="cosine"), "follows no --lr_scheduler"),
        (plain, ScheduleSettings(lr_scheduler="adafactor"), "is for --optimizer_type Adafactor"),
    ):
        with pytest.raises(FluxgymError, match=words):
            build_schedule(optimizer, settings=settings, total_steps=9, learning_rate=LR)


@pytest.mark.parametrize(("limit", "scale"), [(1.0, 0.2), (10.0, 1.0), (0.0, 1.0)])
def test_clipping(limit: float, scale: float) -> None:
    trained, idle = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    trained.grad = torch.tensor([3.0, 4.0])
    assert float(clip_gradients([trained, idle], max_grad_norm=limit)) == pytest.approx(5.0)
    assert trained.grad.tolist() == pytest.approx([3.0 * scale, 4.0 * scale], rel=1e-4)
    assert idle.grad is None


def learned(optimizer: torch.optim.Optimizer, weight: nn.Parameter, *, steps: int = 3) -> torch.Tensor:
    """The weight after steps towards zero."""
    for _ in range(steps):
        weight.grad = 2 * weight.detach()
        optimizer.step()
    return weight.detach().clone()


@pytest.mark.parametrize(
    ("name", "own", "given", "arguments"),
    [
        ("Lion", lion_pytorch.Lion, ["betas=(0.95, 0.98)"], {"betas": (0.95, 0.98)}),
        ("Prodigy", prodigyopt.Prodigy, ["d0=0.1", "decouple=False"], {"d0": 0.1, "decouple": False}),
        ("AdamWScheduleFree", schedulefree.AdamWScheduleFree, ["warmup_steps=2"], {"warmup_steps": 2}),
        ("RAdamScheduleFree", schedulefree.RAdamScheduleFree, ["silent_sgd_phase=False"], {"silent_sgd_phase": False}),
        ("SGDScheduleFree", schedulefree.SGDScheduleFree, ["momentum=0.8"], {"momentum": 0.8}),
    ],
)
def test_optimisers_of_packages_are_their_own(name: str, own: Any, given: list[str], arguments: dict[str, Any]) -> None:
    ours, theirs = parameter(), parameter()
    optimizer = build_optimizer([ours], optimizer_type=name.lower(), learning_rate=LR, optimizer_args=given)
    assert isinstance(optimizer, own)
    reference = own([theirs], lr=LR, **arguments)
    if hasattr(reference, "train"):
        reference.train()
    assert torch.equal(learned(optimizer, ours), learned(reference, theirs))
    assert not torch.equal(ours, parameter())


def test_a_schedule_free_optimiser_lends_its_averages() -> None:
    weight = parameter()
    optimizer = build_optimizer([weight], optimizer_type="AdamWScheduleFree", learning_rate=0.1)
    trained = learned(optimizer, weight)
    with averaged(optimizer):
        assert not torch.allclose(weight, trained)
    assert torch.equal(weight, trained)
    learned(optimizer, weight, steps=1)  # it refuses to while it lends its averages

    plain = parameter()
    with averaged(torch.optim.AdamW([plain], lr=LR)):
        assert torch.equal(plain, parameter())


@pytest.mark.parametrize(("scheduler", "warmup"), [("cosine", 0), ("constant", 5), ("constant_with_warmup", 5)])
def test_a_schedule_free_optimiser_takes_no_schedule(scheduler: str, warmup: int) -> None:
    with pytest.raises(FluxgymError, match="AdamWScheduleFree follows no --lr_scheduler"):
        check_schedule("AdamWScheduleFree", lr_scheduler=scheduler, lr_warmup_steps=warmup)
    check_schedule("AdamW", lr_scheduler=scheduler, lr_warmup_steps=warmup)


PACKAGES = {
    "bitsandbytes.optim": (
        "AdamW8bit", "PagedAdamW8bit", "PagedAdamW", "PagedAdamW32bit", "Lion8bit", "PagedLion8bit",
    ),
    "lion_pytorch": ("Lion",),
    "prodigyopt": ("Prodigy",),
    "schedulefree": ("AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree"),
}  # fmt: skip


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PACKAGES.items() for name in names])
def test_a_package_that_is_missing_is_named_with_its_cure(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FluxgymError, match=f"--optimizer_type {name} needs the package") as caught:
        build_optimizer([parameter()], optimizer_type=name, learning_rate=LR)
    assert caught.value.code is ExitCode.MISSING_EXTRA
    package = module.partition(".")[0].replace("_", "-")
    assert f"pip install --upgrade {package}" in str(caught.value.hint)


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")
@pytest.mark.parametrize("name", PACKAGES["bitsandbytes.optim"])
def test_bitsandbytes_is_called_by_its_own_names(name: str) -> None:
    from bitsandbytes import optim  # slow to import

    weights = [nn.Parameter(torch.randn(64, 80, generator=torch.Generator().manual_seed(1))) for _ in range(2)]
    optimizer = build_optimizer(
        weights[:1], optimizer_type=name.lower(), learning_rate=LR, optimizer_args=["weight_decay=0.2"]
    )
    reference = getattr(optim, name)(weights[1:], lr=LR, weight_decay=0.2)
    assert type(optimizer) is type(reference)
    assert torch.equal(learned(optimizer, weights[0]), learned(reference, weights[1]))
    dtypes = {value.dtype for value in optimizer.state[weights[0]].values() if isinstance(value, torch.Tensor)}
    assert (torch.uint8 in dtypes) == ("8bit" in name)


def test_every_optimiser_of_the_flag_can_be_built() -> None:
    assert FLAGS["optimizer_type"].choices == tuple(OPTIMIZERS)
    assert set(OPTIMIZERS) == {"AdamW", "Adafactor"} | {name for names in PACKAGES.values() for name in names}


def test_prodigy_and_loraplus_exclude_each_other() -> None:
    groups = [{"params": [parameter()], "lr": rate} for rate in (LR, 4 * LR)]
    with pytest.raises(FluxgymError, match="loraplus"):
        build_optimizer(groups, optimizer_type="Prodigy", learning_rate=LR)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ScheduleSettings(lr_scheduler="cosine_with_min_lr"), "needs --lr_scheduler_min_lr_ratio"),
        (ScheduleSettings(lr_scheduler="cosine", lr_decay_steps=5), "--lr_decay_steps has no effect"),
        (ScheduleSettings(lr_scheduler="linear", lr_scheduler_timescale=5), "--lr_scheduler_timescale has no effect"),
        (ScheduleSettings(lr_scheduler_min_lr_ratio=0.1), "--lr_scheduler_min_lr_ratio has no effect"),
        (ScheduleSettings(lr_scheduler_args=("step_rules=1:2,3",)), "--lr_scheduler_args has no effect"),
    ],
)
def test_settings_of_another_schedule_are_refused(settings: ScheduleSettings, words: str) -> None:
    with pytest.raises(FluxgymError, match=words):
        rates(settings)
