"""Sample pictures at their times: one of each prompt, with the LoRA as it is then."""

import io
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.base.prompts import SamplePrompt
from fluxgym_tui.plan.steps import Round
from fluxgym_tui.trainer.autoencoder import load_autoencoder
from fluxgym_tui.trainer.conditioning import TextSource
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.learner import Learner
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.sample import Conditioning, decode_picture, sample_latents, sample_path
from fluxgym_tui.trainer.setup import Setup
from fluxgym_tui.trainer.stopping import StopRequest
from fluxgym_tui.trainer.trackers import Tracking

PromptConditioning = tuple[Conditioning, Conditioning | None]
"""What the text encoders made of a prompt, and of its negative prompt where there is one."""


class Sampler:
    """Makes one picture of each prompt with the LoRA as it is."""

    def __init__(
        self,
        setup: Setup,
        model: Flux,
        *,
        conditionings: Sequence[PromptConditioning],
        texts: TextSource,
        tracking: Tracking,
        report: Reporter,
        stop: StopRequest,
    ) -> None:
        self._setup = setup
        self._model = model
        self._conditionings = conditionings
        self._texts = texts
        self._tracking = tracking
        self._report = report
        self._stop = stop

    def make_rounds(self, *, step: int, learner: Learner) -> bool:
        """A picture of every prompt for each round that falls on `step`; whether there were any.

        Where the device has no room for it, that is told and the training goes on. A stop that is asked for ends the
        round; what then becomes of the training is not decided here.
        """
        due = [moment for moment in self._setup.samples if moment.step == step]
        for moment in due:
            self._report.phase("sample")
            try:
                with learner.averaged():
                    self._make(moment)
            except torch.OutOfMemoryError as error:
                self._report.warning(
                    "sample_out_of_memory",
                    "There is not enough memory for the sample pictures; the training goes on without them.",
                    detail=str(error),
                    fix="Ask for smaller samples (--w 512 --h 512), or for none.",
                )
        return bool(due)

    def _make(self, moment: Round) -> None:
        setup = self._setup
        # Loaded for the round and freed after it: between rounds its memory belongs to the training.
        autoencoder = load_autoencoder(setup.options.ae, device=setup.device)
        folder = setup.options.output_dir / "sample"
        # sd-scripts names the pictures made before the first step after epoch 0.
        epoch = 0 if moment.step == 0 else moment.epoch
        for index, prompt in enumerate(setup.prompts):
            positive, negative = self._condition(index, prompt)
            states: deque[Tensor] = deque(maxlen=1)
            for state in sample_latents(self._model, prompt, positive=positive, negative=negative):
                states.append(state)
                if self._stop.asked:
                    return
            picture = decode_picture(autoencoder, states.pop())
            path = sample_path(
                folder,
                output_name=setup.options.output_name,
                prompt_index=index,
                seed=prompt.seed,
                step=moment.step,
                epoch=epoch,
                now=datetime.now(),  # noqa: DTZ005 - file names show the user's own clock, as sd-scripts has it
            )
            _write_picture(path, picture)
            self._report.sample(path, prompt_index=index, step=moment.step, epoch=epoch, seed=prompt.seed)
            self._tracking.sample(path, prompt_index=index, prompt=prompt.text)

    @torch.no_grad()
    def _condition(self, index: int, prompt: SamplePrompt) -> PromptConditioning:
        """The prompt's encoding; CLIP's part of it as CLIP is now, where it learns."""
        positive, negative = self._conditionings[index]
        if not self._texts.learns:
            return positive, negative
        positive = replace(positive, l_pooled=self._texts.pool([prompt.text]))
        if negative is not None:
            negative = replace(negative, l_pooled=self._texts.pool([prompt.negative or ""]))
        return positive, negative


def _write_picture(path: Path, picture: Image.Image) -> None:
    content = io.BytesIO()
    picture.save(content, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content.getvalue())
    except OSError as error:
        raise FluxgymError(
            f"{path}: the sample cannot be written: {error.strerror}",
            hint="Make room or make the folder writable.",
            code=ExitCode.FAILED,
        ) from error
