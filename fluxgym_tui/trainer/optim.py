"""Optimisers and learning-rate schedules by sd-scripts' names."""

import inspect
import math
from ast import literal_eval
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fluxgym_tui.base.errors import ExitCode, FluxgymError


def parse_arguments(pairs: Sequence[str], *, flag: str) -> dict[str, Any]:
    """`key=value` strings, as --optimizer_args takes them, with values as Python literals."""
    arguments = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        try:
            arguments[key.strip()] = literal_eval(value.strip() if equals else "")
        except (ValueError, SyntaxError) as error:
            raise FluxgymError(
                f"{flag} {pair!r} cannot be read: {error}", hint=f"Write it as {flag} weight_decay=0.1"
            ) from error
    return arguments


Groups = list[dict[str, Any]]
"""Parameters as torch's optimisers take them: under `params`, with a learning rate of their own under `lr`."""


def _adamw(groups: Groups, *, lr: float, arguments: dict[str, Any]) -> Optimizer:
    known = set(inspect.signature(torch.optim.AdamW).parameters) - {"params", "lr", "fused", "foreach"}
    _refuse_unknown(arguments, known=known, optimizer="AdamW")
    # Fused: one kernel for all of the many small matrices, on CPU and CUDA alike.
    fused = all(parameter.device.type in {"cpu", "cuda"} for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=lr, fused=fused, **arguments)


def _adafactor(groups: Groups, *, lr: float, arguments: dict[str, Any]) -> Optimizer:
    from transformers.optimization import Adafactor  # slow to import, and few use it

    _refuse_unknown(
        arguments, known=set(inspect.signature(Adafactor).parameters) - {"params", "lr"}, optimizer="Adafactor"
    )
    # As in sd-scripts: it finds its own rate unless told otherwise, and a warm-up of its own needs that.
    relative = arguments.get("relative_step", True) or arguments.get("warmup_init", False)
    if not relative:
        given: Optimizer = Adafactor(groups, lr=lr, **arguments)  # type: ignore[no-untyped-call]
        return given
    if len({group.get("lr", lr) for group in groups}) > 1:
        raise FluxgymError(
            "Adafactor with relative_step=True finds one rate for all weights, and several are given.",
            hint='Leave unet_lr, text_encoder_lr and loraplus ratios out, or give "relative_step=False"'
            ' "scale_parameter=False" "warmup_init=False" to --optimizer_args.',
        )
    without_rates = [{name: value for name, value in group.items() if name != "lr"} for group in groups]
    optimizer: Optimizer = Adafactor(  # type: ignore[no-untyped-call]
        without_rates, lr=None, **{**arguments, "relative_step": True}
    )
    for group in optimizer.param_groups:  # the schedule wants a number, which the optimiser does not look at
        group["lr"] = lr
    return optimizer


def finds_its_rate(optimizer: Optimizer) -> bool:
    """Whether `optimizer` is an Adafactor that no schedule steers."""
    return bool(optimizer.param_groups[0].get("relative_step", False))


def found_rates(optimizer: Optimizer) -> list[float]:
    """The rates that such an Adafactor made its last step with, one a group; the given one before the first."""
    get: Callable[[dict[str, Any], dict[str, Any]], Any] = optimizer._get_lr  # type: ignore[attr-defined]
    states = [(group, optimizer.state.get(group["params"][0])) for group in optimizer.param_groups]
    return [float(get(group, state) if state else group["lr"]) for group, state in states]


def _prodigy(groups: Groups, *, lr: float, arguments: dict[str, Any]) -> Optimizer:
    if len({group.get("lr", lr) for group in groups}) > 1:
        raise FluxgymError(
            "Prodigy learns all weights at one rate, and loraplus ratios, or a rate of CLIP-L's own, ask for two.",
            hint="Leave the loraplus ratios out of --network_args, and text_encoder_lr; or use another optimiser.",
        )
    return _of_package(groups, name="Prodigy", lr=lr, arguments=arguments)


# By their own names: the package to install, the module in it, and the class in that.
_PACKAGES = {
    "AdamW8bit": ("bitsandbytes", "bitsandbytes.optim", "AdamW8bit"),
    "PagedAdamW8bit": ("bitsandbytes", "bitsandbytes.optim", "PagedAdamW8bit"),
    "PagedAdamW": ("bitsandbytes", "bitsandbytes.optim", "PagedAdamW"),
    "PagedAdamW32bit": ("bitsandbytes", "bitsandbytes.optim", "PagedAdamW32bit"),
    "Lion8bit": ("bitsandbytes", "bitsandbytes.optim", "Lion8bit"),
    "PagedLion8bit": ("bitsandbytes", "bitsandbytes.optim", "PagedLion8bit"),
    "Lion": ("lion-pytorch", "lion_pytorch", "Lion"),
    "Prodigy": ("prodigyopt", "prodigyopt", "Prodigy"),
    "AdamWScheduleFree": ("schedulefree", "schedulefree", "AdamWScheduleFree"),
    "RAdamScheduleFree": ("schedulefree", "schedulefree", "RAdamScheduleFree"),
    "SGDScheduleFree": ("schedulefree", "schedulefree", "SGDScheduleFree"),
}


def _of_package(groups: Groups, *, name: str, lr: float, arguments: dict[str, Any]) -> Optimizer:
    package, module, kind = _PACKAGES[name]
    try:
        build = getattr(import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise FluxgymError(
            f"--optimizer_type {name} needs the package {package}, which is not installed or too old: {error}",
            hint=f"pip install --upgrade {package}, or all of them: pip install 'fluxgym-tui[optimizers]'",
            code=ExitCode.MISSING_EXTRA,
        ) from error
    _refuse_unknown(arguments, known=set(inspect.signature(build).parameters) - {"params", "lr"}, optimizer=name)
    optimizer: Optimizer = build(groups, lr=lr, **arguments)
    if isinstance(optimizer, _ScheduleFree):
        optimizer.train()
    return optimizer


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = (
    {"AdamW": _adamw, "Adafactor": _adafactor}
    | {name: partial(_of_package, name=name) for name in _PACKAGES}
    | {"Prodigy": _prodigy}
)


@runtime_checkable
class _ScheduleFree(Protocol):
    """What the optimisers of schedulefree have and no other has: weights to train, and averaged ones to use."""

    def train(self) -> None: ...
    def eval(self) -> None: ...


@contextmanager
def averaged(optimizer: Optimizer) -> Iterator[None]:
    """Within it the parameters are the ones to use: a schedule-free optimiser's averages, any other's own."""
    if not isinstance(optimizer, _ScheduleFree):
        yield
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    # Computed back they would not be the same bit by bit, and a training with samples not the one without.
    trained = [parameter.detach().clone() for parameter in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        for parameter, values in zip(parameters, trained, strict=True):
            parameter.detach().copy_(values)


def check_schedule(optimizer_type: str, *, lr_scheduler: str, lr_warmup_steps: float) -> None:
    """FluxgymError where a schedule is asked for that a schedule-free optimiser would not follow."""
    if optimizer_type.lower().endswith("schedulefree") and (lr_scheduler != "constant" or lr_warmup_steps):
        raise FluxgymError(
            f"{optimizer_type} follows no --lr_scheduler and no --lr_warmup_steps.",
            hint="Leave them out; for a warm-up give --optimizer_args warmup_steps=100.",
        )


def build_optimizer(
    parameters: Iterable[nn.Parameter] | Groups,
    *,
    optimizer_type: str = "",
    learning_rate: float,
    optimizer_args: Sequence[str] = (),
) -> Optimizer:
    """The optimiser that sd-scripts' `--optimizer_type` names (any case; empty is AdamW) with `--optimizer_args`.

    `learning_rate` is that of parameters which come in no group.
    FluxgymError on a type or an argument that is not honoured, by its name, and where its package is not installed.
    """
    build = {name.lower(): build for name, build in OPTIMIZERS.items()}.get(optimizer_type.lower() or "adamw")
    if build is None:
        raise FluxgymError(
            f"--optimizer_type {optimizer_type} is not honoured by the built-in trainer.",
            hint=f"Use {', '.join(OPTIMIZERS)}, or the kohya backend.",
        )
    given = list(parameters)
    groups: Groups = [part for part in given if isinstance(part, dict)] or [{"params": given}]
    return build(groups, lr=learning_rate, arguments=parse_arguments(optimizer_args, flag="--optimizer_args"))


def _refuse_unknown(arguments: dict[str, Any], *, known: set[str], optimizer: str) -> None:
    if unknown := sorted(arguments.keys() - known):
        raise FluxgymError(
            f"--optimizer_args {unknown[0]}: {optimizer} has no such argument.",
            hint=f"It has: {', '.join(sorted(known))}.",
        )


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """A learning-rate schedule; names and defaults are sd-scripts' flags.

    `lr_warmup_steps` and `lr_decay_steps`: a whole number of update steps, or a float below 1: that share of all steps.
    """

    lr_scheduler: str = "constant"
    lr_warmup_steps: int | float = 0
    lr_scheduler_num_cycles: int = 1
    lr_scheduler_power: float = 1.0
    lr_decay_steps: int | float = 0
    lr_scheduler_timescale: int | None = None
    lr_scheduler_min_lr_ratio: float | None = None
    lr_scheduler_args: tuple[str, ...] = ()

    def warmup(self, total_steps: int) -> int:
        """Update steps of warm-up."""
        return _in_steps(self.lr_warmup_steps, total_steps)

    def done(self, step: int, total_steps: int) -> float:
        """How much of its way down the learning rate has come at `step`, 0..1."""
        way = total_steps - self.warmup(total_steps)
        if self.lr_scheduler == "warmup_stable_decay":
            way = _in_steps(self.lr_decay_steps, total_steps)
        return min(1.0, max(0.0, (step - (total_steps - way)) / max(1, way)))


def _in_steps(given: float, total_steps: int) -> int:
    return int(given * total_steps) if isinstance(given, float) else given


Shape = Callable[[float, ScheduleSettings], float]

# What is left of the learning rate when `p` (0..1) of the steps after the warm-up are done, as transformers defines it.
SHAPES: dict[str, Shape] = {
    "constant": lambda p, s: 1.0,
    "adafactor": lambda p, s: 1.0,  # the optimiser's own affair
    "constant_with_warmup": lambda p, s: 1.0,
    "linear": lambda p, s: 1 - p,
    "cosine": lambda p, s: 0.5 * (1 + math.cos(math.pi * p)),
    "cosine_with_restarts": lambda p, s: (
        0.0 if p >= 1 else 0.5 * (1 + math.cos(math.pi * (p * s.lr_scheduler_num_cycles % 1)))
    ),
    "polynomial": lambda p, s: (1 - p) ** s.lr_scheduler_power,
    "cosine_with_min_lr": lambda p, s: _above_floor(0.5 * (1 + math.cos(math.pi * s.lr_scheduler_num_cycles * p)), s),
    "warmup_stable_decay": lambda p, s: _above_floor(0.5 * (1 + math.cos(math.pi * s.lr_scheduler_num_cycles * p)), s),
}
INVERSE_SQRT_STEPS = 10_000  # of transformers, where neither a timescale nor a warm-up is given

# Settings that only some schedules look at, and those.
_OWNERS = {
    "lr_decay_steps": ("warmup_stable_decay",),
    "lr_scheduler_timescale": ("inverse_sqrt",),
    "lr_scheduler_min_lr_ratio": ("cosine_with_min_lr", "warmup_stable_decay"),
    "lr_scheduler_args": ("piecewise_constant",),
}
POLYNOMIAL_END = 1e-7  # the learning rate at which transformers' polynomial decay ends


def _above_floor(factor: float, settings: ScheduleSettings) -> float:
    floor = settings.lr_scheduler_min_lr_ratio or 0.0
    return factor * (1 - floor) + floor


def learning_rate_factor(step: int, *, settings: ScheduleSettings, total_steps: int, learning_rate: float) -> float:
    """What the learning rate is multiplied by in update step `step` (from 0) of `total_steps`."""
    warmup = settings.warmup(total_steps)
    if step < warmup:
        rising = settings.lr_scheduler == "warmup_stable_decay"  # from its floor, not from nothing
        return _above_floor(step / warmup, settings) if rising else step / warmup
    if settings.lr_scheduler == "inverse_sqrt":
        timescale = settings.lr_scheduler_timescale or warmup or INVERSE_SQRT_STEPS
        return math.sqrt(timescale / (step - warmup + timescale))
    if settings.lr_scheduler == "piecewise_constant":
        bounds, last = step_rules(settings.lr_scheduler_args)
        return next((factor for bound, factor in bounds if step < bound), last)
    factor = SHAPES[settings.lr_scheduler](settings.done(step, total_steps), settings)
    if settings.lr_scheduler == "polynomial":
        end = POLYNOMIAL_END / learning_rate
        return factor * (1 - end) + end
    return factor


def step_rules(arguments: Sequence[str]) -> tuple[list[tuple[int, float]], float]:
    """`step_rules=1:100,0.1:200,0.01`: by what the rate is multiplied before each step, and after the last.

    FluxgymError where it is written otherwise.
    """
    hint = 'Write it as --lr_scheduler_args "step_rules=1:100,0.1:200,0.01".'
    given = dict(pair.partition("=")[::2] for pair in arguments)
    if set(given) != {"step_rules"}:
        raise FluxgymError("--lr_scheduler piecewise_constant needs step_rules, and nothing else.", hint=hint)
    *rules, last = given["step_rules"].strip("'\"").split(",")
    try:
        bounds = sorted((int(bound), float(factor)) for factor, _, bound in (rule.partition(":") for rule in rules))
        return bounds, float(last)
    except ValueError:
        raise FluxgymError(f"--lr_scheduler_args step_rules={given['step_rules']} cannot be read.", hint=hint) from None


def _check_found_rate(optimizer: Optimizer, settings: ScheduleSettings) -> None:
    """FluxgymError where a schedule is asked for that nothing would follow."""
    own = finds_its_rate(optimizer)
    if own and (settings.lr_scheduler not in ("constant", "adafactor") or settings.lr_warmup_steps):
        raise FluxgymError(
            "Adafactor with relative_step=True follows no --lr_scheduler and no --lr_warmup_steps.",
            hint='Leave them out, or give --optimizer_args "relative_step=False" "scale_parameter=False"'
            ' "warmup_init=False".',
        )
    if settings.lr_scheduler == "adafactor" and not own:
        raise FluxgymError(
            "--lr_scheduler adafactor is for --optimizer_type Adafactor with relative_step=True.",
            hint="Choose another schedule, or leave relative_step=False out of --optimizer_args.",
        )


def build_schedule(
    optimizer: Optimizer, *, settings: ScheduleSettings, total_steps: int, learning_rate: float
) -> LambdaLR:
    """The schedule that sd-scripts' `--lr_scheduler` names, for `total_steps` update steps. FluxgymError on others."""
    _check_found_rate(optimizer, settings)
    if settings.lr_scheduler not in (*SHAPES, "inverse_sqrt", "piecewise_constant"):
        raise FluxgymError(
            f"--lr_scheduler {settings.lr_scheduler} is not honoured by the built-in trainer.",
            hint=f"Use one of: {', '.join(SHAPES)}, inverse_sqrt, piecewise_constant.",
        )
    if settings.lr_scheduler == "piecewise_constant":
        step_rules(settings.lr_scheduler_args)
    if settings.lr_scheduler in ("constant", "piecewise_constant") and settings.lr_warmup_steps:
        raise FluxgymError(
            f"--lr_warmup_steps has no effect with --lr_scheduler {settings.lr_scheduler}.",
            hint="Use --lr_scheduler constant_with_warmup.",
        )
    for name, owners in _OWNERS.items():
        if getattr(settings, name) and settings.lr_scheduler not in owners:
            raise FluxgymError(
                f"--{name} has no effect with --lr_scheduler {settings.lr_scheduler}.",
                hint=f"Leave it out, or use --lr_scheduler {' or '.join(owners)}.",
            )
    if settings.lr_scheduler == "polynomial" and learning_rate <= POLYNOMIAL_END:
        raise FluxgymError(
            f"--lr_scheduler polynomial ends at {POLYNOMIAL_END:g}, above --learning_rate {learning_rate:g}.",
            hint="Give a higher --learning_rate: unet_lr and text_encoder_lr follow its course.",
        )
    if settings.lr_scheduler == "cosine_with_min_lr" and settings.lr_scheduler_min_lr_ratio is None:
        raise FluxgymError(
            "--lr_scheduler cosine_with_min_lr needs --lr_scheduler_min_lr_ratio.", hint="0.1 ends at a tenth."
        )
    return LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(
            step, settings=settings, total_steps=total_steps, learning_rate=learning_rate
        ),
    )


def clip_gradients(parameters: Iterable[nn.Parameter], *, max_grad_norm: float) -> Tensor:
    """Scale the gradients to a common norm of at most `max_grad_norm` (0: leave them); returns the norm before."""
    gradients = [parameter for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.clip_grad_norm_(gradients, max_grad_norm or math.inf)
