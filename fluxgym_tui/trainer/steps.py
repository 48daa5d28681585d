"""One optimiser step after the other, in an order that follows from the seed, and what comes between them."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import StepEvent
from fluxgym_tui.trainer.cache import read_ahead
from fluxgym_tui.trainer.captions import Moment
from fluxgym_tui.trainer.data import PictureBatch
from fluxgym_tui.trainer.learner import Learner
from fluxgym_tui.trainer.outputs import CheckpointWriter
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.sampler import Sampler
from fluxgym_tui.trainer.setup import Setup
from fluxgym_tui.trainer.stopping import StopRequest
from fluxgym_tui.trainer.trackers import Tracking
from fluxgym_tui.trainer.validation import Validator


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What comes between the steps."""

    writer: CheckpointWriter
    sampler: Sampler
    validator: Validator
    tracking: Tracking

    def make(self, *, step: int, epoch: int, learner: Learner, last: bool) -> bool:
        """What falls on `step`: checkpoints first, whatever happens. Samples of the `last` step come after its LoRA.

        Whether there was any that takes the place of training on the screen.
        """
        saved = self.writer.save_rounds(step=step, epoch=epoch)
        self.validator.measure_due(step=step, epoch=epoch, learner=learner)
        sampled = not last and self.sampler.make_rounds(step=step, learner=learner)
        return saved or sampled


def make_steps(setup: Setup, learner: Learner, *, rounds: Rounds, report: Reporter, stop: StopRequest) -> None:
    """Every optimiser step, and what falls between them."""
    total, epochs = setup.counts.total, setup.counts.epochs
    pictures = (batch for update in updates(setup) for batch in update.batches)

    def save_state_before(update: Update) -> None:
        if update.step > setup.first_step:  # else there is nothing new to save
            rounds.writer.save_stopped(step=update.step - 1, epoch=update.epoch - update.first_of_epoch)

    report.phase("train")
    with closing(read_ahead(pictures, workers=setup.options.max_data_loader_n_workers)) as ready:
        for update in updates(setup):
            if stop.asked:
                save_state_before(update)
            stop.check()
            if update.first_of_epoch or update.step == setup.first_step:
                report.epoch(update.epoch, epochs)
            begun = time.monotonic()
            try:
                batches = [next(ready) for _ in update.batches]
            except FluxgymError:  # a file is gone or broken: what was learned until here is not lost with it
                save_state_before(update)
                raise
            learned = learner.learn(batches, step=update.step)
            if learned.left_out is not None:
                report.warning(
                    "step_left_out",
                    f"{learned.left_out} at step {update.step}, which is left out.",
                    fix="Lower the learning rate if there are more.",
                )
            report.step(
                StepEvent(
                    time=time.time(),
                    step=update.step,
                    total=total,
                    epoch=update.epoch,
                    loss=learned.loss,
                    avg_loss=learned.avg_loss,
                    lr=learned.learning_rate,
                    seconds=time.monotonic() - begun,
                ),
                first=setup.first_step,
            )
            rounds.tracking.step(learned, step=update.step, epoch=update.epoch)
            last = update.step == total
            if rounds.make(step=update.step, epoch=update.epoch, learner=learner, last=last) and not last:
                report.phase("train")
            if last or update.step == update.epoch * setup.counts.steps_per_epoch:
                rounds.tracking.epoch(learner.avg_loss, step=update.step, epoch=update.epoch)


@dataclass(frozen=True, slots=True)
class Update:
    """One optimiser step to make: its number and its epoch's, both from 1, and its batches."""

    step: int
    epoch: int
    first_of_epoch: bool
    batches: tuple[PictureBatch, ...]


def updates(setup: Setup) -> Iterator[Update]:
    """The optimiser steps to make, in order; what is left of an epoch's batches makes a step of its own."""
    size = setup.options.gradient_accumulation_steps
    done_epochs = (setup.first_step - 1) // setup.counts.steps_per_epoch
    for epoch in range(done_epochs + 1, setup.counts.epochs + 1):
        batches = setup.data.batches(epoch=epoch)
        starts = range(0, len(batches), size)
        for step, start in enumerate(starts, start=(epoch - 1) * setup.counts.steps_per_epoch + 1):
            if not setup.first_step <= step <= setup.counts.total:
                continue
            moment = Moment(epoch=epoch, steps_done=step - 1, total_steps=setup.counts.total)
            named = (
                setup.data.named(batches[n], moment=moment, batch=n, cached_text=setup.options.cached_text)
                for n in range(start, min(start + size, len(batches)))
            )
            yield Update(step, epoch, start == 0, tuple(named))
