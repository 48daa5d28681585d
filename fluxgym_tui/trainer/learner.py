"""One optimiser step after the other: the LoRA, its optimiser, its schedule, and the noise it learns from."""

import math
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.cache import ReadBatch
from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.conditioning import TextSource
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.lora import CLIP_PREFIX, LoraNetwork, create_lora, lora_from_state
from fluxgym_tui.trainer.noise import drawn_losses
from fluxgym_tui.trainer.optim import averaged, clip_gradients, finds_its_rate, found_rates
from fluxgym_tui.trainer.setup import Setup, build_optimization, clip_learning_rate, transformer_learning_rate
from fluxgym_tui.trainer.state import TrainState, join_optimizer, split_optimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class NormFacts:
    """Norms of what the adapters add: how many were shrunk, the mean, the largest; and the mean of the gradient's."""

    shrunk: int | None = None
    average: float | None = None
    largest: float | None = None
    gradient: float | None = None


MOST_LEFT_OUT = 10  # in a row: what is not finite so often will not be again


@dataclass(frozen=True, slots=True)
class Learned:
    """What one optimiser step came to; `avg_loss` is the mean over the last epoch's steps, `rates` are by group.

    `left_out` says why the weights were not changed, where they were not; the loss is then none of the mean's.
    `adapted_rates` are the rates times the factor that Prodigy found. `norms` only where they are asked for.
    """

    loss: float
    avg_loss: float
    rates: dict[str, float]
    left_out: str | None = None
    adapted_rates: dict[str, float] = field(default_factory=dict)
    norms: NormFacts = field(default_factory=NormFacts)

    @property
    def learning_rate(self) -> float:
        """The transformer's, or CLIP-L's where that alone learns."""
        return self.rates.get("unet", next(iter(self.rates.values())))


class Learner:
    """The LoRA, its optimiser and schedule, and the random numbers of noise and sigma."""

    def __init__(self, setup: Setup, model: Flux, texts: TextSource) -> None:
        options = setup.options
        self._setup = setup
        self._model = model
        self._texts = texts
        # Noise and initial weights come from generators of their own: what else draws numbers does not change them.
        self._generator = torch.Generator().manual_seed(setup.seed)
        self.network = self._of_weights() if options.dim_from_weights else self._fresh()
        self._parameters = list(self.network.parameters())
        groups = self.network.parameter_groups(
            learning_rate=transformer_learning_rate(options), text_encoder_lr=clip_learning_rate(options)
        )
        self.group_names = tuple(group.name for group in groups)
        self.optimizer, self._schedule = build_optimization(
            [{"params": group.parameters, "lr": group.learning_rate} for group in groups],
            options,
            total_steps=setup.counts.total,
        )
        self._fresh_groups = self._group_values()
        self.losses: deque[float] = deque(maxlen=setup.counts.steps_per_epoch)  # sd-scripts' avr_loss: one epoch's
        self._left_out = 0  # steps in a row
        self.measures_norms = False  # they cost a little, and only trackers want them
        if setup.resumed is not None:
            self._restore(setup.resumed)

    def learn(self, batches: Sequence[ReadBatch], *, step: int) -> Learned:
        """Make optimiser step `step` on `batches`; each weighs 1 / gradient_accumulation_steps, as in sd-scripts.

        FluxgymError where a loss or the gradient is not finite; the weights are then those of the step before. With
        `--fluxgym_on_nan skip` they stay so and the next step comes, unless too many are left out in a row.
        """
        options = self._setup.options
        losses: list[float] = []
        wrong = self._gradients(batches, losses)
        rates = dict(zip(self.group_names, map(float, self._schedule.get_last_lr()), strict=True))
        if wrong is not None:
            self._leave_out(wrong, step)
            return Learned(losses[-1], self.avg_loss, rates, left_out=wrong)
        self._left_out = 0
        norms = NormFacts()
        if self.measures_norms:
            norms = NormFacts(gradient=self.network.average_gradient_norm())
        self.optimizer.step()
        self._schedule.step()
        if finds_its_rate(self.optimizer):
            rates = dict(zip(self.group_names, found_rates(self.optimizer), strict=True))
        if options.scale_weight_norms:
            shrunk, average, largest = self.network.limit_norms(options.scale_weight_norms)
            norms = NormFacts(shrunk=shrunk, average=average, largest=largest)
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(math.fsum(losses) / len(losses))
        return Learned(self.losses[-1], self.avg_loss, rates, adapted_rates=self._adapted_rates(), norms=norms)

    def _adapted_rates(self) -> dict[str, float]:
        groups = zip(self.group_names, self.optimizer.param_groups, strict=True)
        return {name: float(group["d"] * group["lr"]) for name, group in groups if "d" in group}

    @property
    def avg_loss(self) -> float:
        """The mean over the last epoch's steps; NaN before the first."""
        return math.fsum(self.losses) / len(self.losses) if self.losses else math.nan

    def _gradients(self, batches: Sequence[ReadBatch], losses: list[float]) -> str | None:
        """Gather the gradients of `batches`, clipped, and their losses; what is not finite, where something is not."""
        options = self._setup.options
        for batch in batches:
            with self.network.dropping(self._generator):
                loss = self._loss(batch)
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    return f"The loss is {losses[-1]}"
                if loss.requires_grad:  # not where module_dropout left every adapter out
                    (loss / options.gradient_accumulation_steps).backward()  # type: ignore[no-untyped-call]
        norm = float(clip_gradients(self._parameters, max_grad_norm=options.max_grad_norm))
        return None if math.isfinite(norm) else f"The gradient's norm is {norm}"

    def _leave_out(self, wrong: str, step: int) -> None:
        """Drop what was learned of this step, where that is allowed."""
        self._left_out += 1
        if self._setup.options.fluxgym_on_nan == "stop" or self._left_out > MOST_LEFT_OUT:
            raise _not_finite(wrong, step)
        self.optimizer.zero_grad(set_to_none=True)
        with warnings.catch_warnings():
            # torch warns of a schedule that goes on without its optimiser: that is what leaving out means.
            warnings.simplefilter("ignore", UserWarning)
            self._schedule.step()

    def averaged(self) -> AbstractContextManager[None]:
        """Within it the LoRA is the one to use, to save and to sample from: see `optim.averaged`."""
        return averaged(self.optimizer)

    def capture(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that changes while learning: plain values, and tensors by names of their own."""
        tensors, numbers = split_optimizer(self.optimizer.state_dict()["state"])
        weights = {f"lora.{name}": tensor for name, tensor in self.network.lora_state().items()}
        slots = {f"optimizer.{name}": tensor for name, tensor in tensors.items()}
        groups = [
            {name: value for name, value in now.items() if name not in fresh or value != fresh[name]}
            for now, fresh in zip(self._group_values(), self._fresh_groups, strict=True)
        ]
        facts = {"optimizer_type": type(self.optimizer).__name__, "optimizer": numbers, "groups": groups}
        return facts, {**weights, **slots, "noise_generator": self._generator.get_state()}

    def _fresh(self) -> LoraNetwork:
        """Adapters as the options have them, with `network_weights` in them where given."""
        options = self._setup.options
        network = create_lora(
            self._model,
            clip=self._texts.trained_clip,
            train_unet=not options.network_train_text_encoder_only,
            network_dim=options.network_dim,
            network_alpha=options.network_alpha,
            network_args=self._setup.network_args,
            network_dropout=options.network_dropout,
            generator=torch.Generator().manual_seed(self._setup.seed),
        )
        if options.network_weights is not None:
            tensors = open_lora(options.network_weights).tensors
            if not any(key.startswith(CLIP_PREFIX) for key in tensors):  # CLIP-L's stay fresh, as in sd-scripts
                own = network.lora_state()
                tensors |= {key: tensor for key, tensor in own.items() if key.startswith(CLIP_PREFIX)}
            network.load_lora_state(tensors, source=str(options.network_weights))
        return network

    def _of_weights(self) -> LoraNetwork:
        """Adapters of the layers, ranks and alphas that `network_weights` has."""
        path = self._setup.options.network_weights
        assert path is not None  # the flags' rules demand it
        tensors = open_lora(path).tensors
        return lora_from_state(self._model, tensors, source=str(path), clip=self._texts.trained_clip)

    def _restore(self, state: TrainState) -> None:
        """Take up what `capture` gave, and the learning rate of the step that comes next."""
        source, kind = str(self._setup.options.resume), type(self.optimizer).__name__
        if state.numbers.get("optimizer_type") != kind:
            raise FluxgymError(
                f"{source} is of a training with {state.numbers.get('optimizer_type')}, not {kind}.",
                hint="Resume with the optimizer_type that it was trained with.",
            )
        self.network.load_lora_state(_under("lora.", state.tensors), source=source)
        groups = self.optimizer.state_dict()["param_groups"]
        learned = state.numbers.get("groups", [{}])
        if len(learned) != len(groups):
            raise FluxgymError(
                f"{source} is of a training {'with' if len(learned) > 1 else 'without'} LoRA+.",
                hint="Resume with the loraplus ratio that it was trained with, or without where it had none.",
            )
        for group, values in zip(groups, learned, strict=True):
            group.update(values)
        slots = join_optimizer(_under("optimizer.", state.tensors), state.numbers["optimizer"])
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self._generator.set_state(state.tensors["noise_generator"])
        self.losses.extend(state.losses)
        # The rate is a function of the step alone, so a longer training may go on from a shorter one's state.
        scheduled = zip(self._schedule.lr_lambdas, self._schedule.base_lrs, strict=True)
        rates = [base * factor(state.step) for factor, base in scheduled]
        here = {"last_epoch": state.step, "_step_count": state.step + 1, "_last_lr": rates}
        self._schedule.load_state_dict(self._schedule.state_dict() | here)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _group_values(self) -> list[dict[str, Any]]:
        """What each of the optimiser's groups holds beside weights and rates: some count and estimate there."""
        left_out = {"params", "lr", "initial_lr"}
        groups = self.optimizer.state_dict()["param_groups"]
        return [{name: value for name, value in group.items() if name not in left_out} for group in groups]

    def _loss(self, read: ReadBatch) -> Tensor:
        batch = self._texts.complete(read)
        return drawn_losses(self._model, batch=batch, settings=self._setup.flow, generator=self._generator).mean()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _not_finite(what: str, step: int) -> FluxgymError:
    return FluxgymError(
        f"{what} at step {step}: the training cannot go on.",
        hint="Lower the learning rate, and go on from the last checkpoint: those that were saved are whole."
        " `--fluxgym_on_nan skip` leaves such a step out instead.",
        code=ExitCode.FAILED,
    )
