"""One optimiser step after the other: the LoRA, its optimiser, its schedule, and the noise it learns from."""

import math
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.cache import on_device
from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.flow import FlowBatch, disturb, draw_sigmas, flow_losses
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.lora import create_lora
from fluxgym_tui.trainer.optim import averaged, clip_gradients
from fluxgym_tui.trainer.setup import Setup, build_optimization, transformer_learning_rate
from fluxgym_tui.trainer.state import TrainState, join_optimizer, split_optimizer


@dataclass(frozen=True, slots=True)
class Learned:
    """What one optimiser step came to; `avg_loss` is the mean over the last epoch's steps."""

    loss: float
    avg_loss: float
    learning_rate: float


class Learner:
    """The LoRA, its optimiser and schedule, and the random numbers of noise and sigma."""

    def __init__(self, setup: Setup, model: Flux) -> None:
        options = setup.options
        self._setup = setup
        self._model = model
        # Noise and initial weights come from generators of their own: what else draws numbers does not change them.
        self._generator = torch.Generator().manual_seed(setup.seed)
        self.network = create_lora(
            model,
            network_dim=options.network_dim,
            network_alpha=options.network_alpha,
            network_args=setup.network_args,
            network_dropout=options.network_dropout,
            generator=torch.Generator().manual_seed(setup.seed),
        )
        if options.network_weights is not None:
            weights = open_lora(options.network_weights)
            self.network.load_lora_state(weights.tensors, source=str(options.network_weights))
        self._parameters = list(self.network.parameters())
        groups = self.network.parameter_groups(learning_rate=transformer_learning_rate(options))
        self.optimizer, self._schedule = build_optimization(groups, options, total_steps=setup.counts.total)
        self._fresh_groups = self._group_values()
        self.losses: deque[float] = deque(maxlen=setup.counts.steps_per_epoch)  # sd-scripts' avr_loss: one epoch's
        if setup.resumed is not None:
            self._restore(setup.resumed)

    def learn(self, batches: Sequence[FlowBatch], *, step: int) -> Learned:
        """Make optimiser step `step` on `batches`; each weighs 1 / gradient_accumulation_steps, as in sd-scripts.

        FluxgymError where a loss or the gradient is not finite; the weights are then those of the step before.
        """
        options = self._setup.options
        losses = []
        for batch in batches:
            with self.network.dropping(self._generator):
                loss = self._loss(batch)
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    raise _not_finite(f"The loss is {losses[-1]}", step)
                if loss.requires_grad:  # not where module_dropout left every adapter out
                    (loss / options.gradient_accumulation_steps).backward()  # type: ignore[no-untyped-call]
        norm = float(clip_gradients(self._parameters, max_grad_norm=options.max_grad_norm))
        if not math.isfinite(norm):
            raise _not_finite(f"The gradient's norm is {norm}", step)
        learning_rate = float(self._schedule.get_last_lr()[0])
        self.optimizer.step()
        self._schedule.step()
        if options.scale_weight_norms:
            self.network.limit_norms(options.scale_weight_norms)
        self.optimizer.zero_grad(set_to_none=True)
        self.losses.append(math.fsum(losses) / len(losses))
        return Learned(self.losses[-1], math.fsum(self.losses) / len(self.losses), learning_rate)

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

    def _loss(self, batch: FlowBatch) -> Tensor:
        device, flow = self._setup.device, self._setup.flow
        batch = on_device(batch, device)
        B, _, h, w = batch.latents.shape
        noise = torch.randn(batch.latents.shape, generator=self._generator).to(device)
        sigmas = draw_sigmas(B, settings=flow, tokens=h // 2 * (w // 2), generator=self._generator, device=device)
        mixed = disturb(noise, settings=flow, generator=self._generator)
        losses = flow_losses(self._model, batch=batch, noise=noise, sigmas=sigmas, settings=flow, mixed_noise=mixed)
        return losses.mean()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _not_finite(what: str, step: int) -> FluxgymError:
    return FluxgymError(
        f"{what} at step {step}: the training cannot go on.",
        hint="Lower the learning rate, and go on from the last checkpoint: those that were saved are whole.",
        code=ExitCode.FAILED,
    )
