"""The loss of pictures that are kept back, at the same noise every time: whether a LoRA learns or only remembers."""

import math

import torch

from fluxgym_tui.trainer.cache import read_batch
from fluxgym_tui.trainer.conditioning import TextSource
from fluxgym_tui.trainer.data import PictureBatch
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.learner import Learner
from fluxgym_tui.trainer.noise import drawn_losses
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.setup import Setup
from fluxgym_tui.trainer.stopping import StopRequest
from fluxgym_tui.trainer.trackers import Tracking

DRAWS = 4  # of noise and sigma for each batch, as sd-scripts has it


class Validator:
    """Measures at the times that sd-scripts would."""

    def __init__(
        self, setup: Setup, model: Flux, texts: TextSource, *, tracking: Tracking, report: Reporter, stop: StopRequest
    ) -> None:
        self._setup = setup
        self._model = model
        self._texts = texts
        self._tracking = tracking
        self._report = report
        self._stop = stop
        self._batches = setup.data.validation_batches()[: setup.options.max_validation_steps]
        seed = setup.options.validation_seed
        self._seed = setup.seed if seed is None else seed

    def measure_due(self, *, step: int, epoch: int, learner: Learner) -> float | None:
        """The mean loss, where it is due after `step` of `epoch`; None elsewhere, and where a stop is asked for."""
        of_step, of_epoch = self._due_by_step(step), self._due_by_epoch(step, epoch)
        if not self._batches or not (of_step or of_epoch):
            return None
        with torch.no_grad(), learner.averaged():
            loss = self._measure()
        if loss is None:
            return None
        average, pictures = learner.avg_loss, sum(len(batch) for batch in self._batches)
        self._report.validation(loss=loss, avg_loss=average, step=step, epoch=epoch, pictures=pictures)
        for due, kind in ((of_step, False), (of_epoch, True)):
            if due:
                self._tracking.validation(loss, average=average, step=step, epoch=epoch, of_epoch=kind)
        return loss

    def _due_by_step(self, step: int) -> bool:
        every = self._setup.options.validate_every_n_steps
        return every is not None and step % every == 0

    def _due_by_epoch(self, step: int, epoch: int) -> bool:
        counts, every = self._setup.counts, self._setup.options.validate_every_n_epochs or 1
        ends = step == counts.total or step == epoch * counts.steps_per_epoch
        return ends and epoch % every == 0

    def _measure(self) -> float | None:
        # A generator of its own: what is measured does not change what is trained.
        generator = torch.Generator().manual_seed(self._seed)
        # The seed that sd-scripts' data loader draws for itself: with it noise and sigmas are sd-scripts' own.
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        losses = []
        for pictures in self._batches:
            named = PictureBatch(
                pictures=pictures,
                captions=tuple(picture.settled_caption for picture in pictures),
                cached_text=self._setup.options.cached_text,
            )
            batch = self._texts.complete(read_batch(named))
            for _ in range(DRAWS):
                if self._stop.asked:
                    return None
                drawn = drawn_losses(self._model, batch=batch, settings=self._setup.flow, generator=generator)
                losses.append(float(drawn.mean()))
        return math.fsum(losses) / len(losses)
