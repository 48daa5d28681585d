"""Optimisers and schedules are the ones that sd-scripts' names stand for."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.optim import ScheduleSettings, build_optimizer, build_schedule, clip_gradients

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
        ("Lion", [], "--optimizer_type Lion"),
        ("AdamW8bit", [], "--optimizer_type AdamW8bit"),
        ("AdamW", ["d_coef=2"], "d_coef"),
        ("AdamW", ["lr=1"], "lr"),
        ("AdamW", ["weight_decay"], "cannot be read"),
        ("AdamW", ["weight_decay=much"], "cannot be read"),
        ("Adafactor", ["relative_step=True"], "relative_step"),
        ("Adafactor", [], "relative_step"),
        ("Adafactor", ["relative_step=False", "amsgrad=True"], "amsgrad"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(name: str, arguments: list[str], words: str) -> None:
    with pytest.raises(FluxgymError, match=re.escape(words)):
        build_optimizer([parameter()], optimizer_type=name, learning_rate=LR, optimizer_args=arguments)


@pytest.mark.parametrize(("limit", "scale"), [(1.0, 0.2), (10.0, 1.0), (0.0, 1.0)])
def test_clipping(limit: float, scale: float) -> None:
    trained, idle = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    trained.grad = torch.tensor([3.0, 4.0])
    assert float(clip_gradients([trained, idle], max_grad_norm=limit)) == pytest.approx(5.0)
    assert trained.grad.tolist() == pytest.approx([3.0 * scale, 4.0 * scale], rel=1e-4)
    assert idle.grad is None
