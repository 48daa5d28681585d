"""The files a training makes: checkpoints, the last LoRA, sample pictures."""

import contextlib
import io
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.plan.steps import Round
from fluxgym_tui.trainer.autoencoder import load_autoencoder
from fluxgym_tui.trainer.checkpoint import save_lora
from fluxgym_tui.trainer.data import TrainingSet
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.lora import LoraNetwork
from fluxgym_tui.trainer.metadata import (
    DatasetFacts,
    SubsetFacts,
    TrainingFacts,
    checkpoint_metadata,
    training_metadata,
)
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.sample import Conditioning, decode_picture, sample_latents, sample_path
from fluxgym_tui.trainer.setup import Setup
from fluxgym_tui.trainer.stopping import StopRequest

PromptConditioning = tuple[Conditioning, Conditioning | None]
"""What the text encoders made of a prompt, and of its negative prompt where there is one."""


class CheckpointWriter:
    """Writes the LoRA as it is, whole or not at all, under sd-scripts' names."""

    def __init__(self, setup: Setup, network: LoraNetwork, *, facts: TrainingFacts, report: Reporter) -> None:
        self._setup = setup
        self._network = network
        self._report = report
        self._metadata = training_metadata(setup.options, facts)
        # As in sd-scripts: the precision of training where none is asked for.
        trained = "bf16" if setup.dtype is torch.bfloat16 else "float"
        self._precision = setup.options.save_precision or trained

    def save_rounds(self, *, step: int, epoch: int) -> bool:
        """The checkpoints that fall on `step`, which is in `epoch`; whether there were any.

        Those that `save_last_n_epochs` and `save_last_n_steps` keep no longer are removed.
        """
        due = [moment for moment in self._setup.checkpoints if moment.step == step]
        for moment in due:
            self._save(self._name(moment), step=step, epoch=epoch)
            if (old := self._outdated(moment)) is not None:
                with contextlib.suppress(FileNotFoundError):
                    (self._setup.options.output_dir / self._name(old)).unlink()
        return bool(due)

    def save_last(self) -> Path:
        """The LoRA of the whole training."""
        counts = self._setup.counts
        return self._save(f"{self._setup.output_name}.safetensors", step=counts.total, epoch=counts.epochs)

    def _save(self, file_name: str, *, step: int, epoch: int) -> Path:
        path = self._setup.options.output_dir / file_name
        self._report.phase("save")
        metadata = checkpoint_metadata(self._metadata, step=step, epoch=epoch)
        save_lora(path, self._network, metadata=metadata, save_precision=self._precision)
        self._report.checkpoint(path, step=step, epoch=epoch)
        return path

    def _name(self, moment: Round) -> str:
        number = f"{moment.epoch:06d}" if moment.epoch is not None else f"step{moment.step:08d}"
        return f"{self._setup.output_name}-{number}.safetensors"

    def _outdated(self, newest: Round) -> Round | None:
        """The checkpoint that goes when `newest` comes: one of so many epochs ago, or of so many steps."""
        options = self._setup.options
        if newest.epoch is not None:
            if options.save_last_n_epochs is None or options.save_every_n_epochs is None:
                return None
            epoch = newest.epoch - options.save_every_n_epochs * options.save_last_n_epochs
            return Round(step=epoch * self._setup.counts.steps_per_epoch, epoch=epoch) if epoch > 0 else None
        if options.save_last_n_steps is None or options.save_every_n_steps is None:
            return None
        step = newest.step - options.save_last_n_steps - 1
        step -= step % options.save_every_n_steps
        return Round(step=step) if step > 0 else None


class Sampler:
    """Makes one picture of each prompt with the LoRA as it is."""

    def __init__(
        self,
        setup: Setup,
        model: Flux,
        *,
        conditionings: Sequence[PromptConditioning],
        report: Reporter,
        stop: StopRequest,
    ) -> None:
        self._setup = setup
        self._model = model
        self._conditionings = conditionings
        self._report = report
        self._stop = stop

    def make_rounds(self, *, step: int) -> bool:
        """A picture of every prompt for each round that falls on `step`; whether there were any.

        Where the device has no room for it, that is told and the training goes on.
        """
        due = [moment for moment in self._setup.samples if moment.step == step]
        for moment in due:
            self._report.phase("sample")
            try:
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
            positive, negative = self._conditionings[index]
            states = sample_latents(self._model, prompt, positive=positive, negative=negative)
            latents = deque(self._stoppable(states), maxlen=1).pop()
            picture = decode_picture(autoencoder, latents)
            path = sample_path(
                folder,
                output_name=setup.output_name,
                prompt_index=index,
                seed=prompt.seed,
                step=moment.step,
                epoch=epoch,
                now=datetime.now(),  # noqa: DTZ005 - file names show the user's own clock, as sd-scripts has it
            )
            _write_picture(path, picture)
            self._report.sample(path, prompt_index=index, step=moment.step, epoch=epoch, seed=prompt.seed)

    def _stoppable(self, states: Iterable[Tensor]) -> Iterator[Tensor]:
        for state in states:
            self._stop.check()
            yield state


def dataset_facts(sets: Iterable[TrainingSet]) -> list[DatasetFacts]:
    """What the metadata of a LoRA tells of the datasets it was trained on."""
    return [_dataset_facts(dataset) for dataset in sets]


def _dataset_facts(dataset: TrainingSet) -> DatasetFacts:
    buckets: Counter[tuple[int, int]] = Counter()
    captions: defaultdict[Path, list[str]] = defaultdict(list)
    for picture in dataset.pictures:
        buckets[picture.fit.bucket] += picture.repeats
        captions[picture.subset.image_dir].append(picture.caption)
    config = dataset.config
    return DatasetFacts(
        resolution=config.resolution,
        batch_size=config.batch_size,
        enable_bucket=config.enable_bucket,
        min_bucket_reso=config.min_bucket_reso,
        max_bucket_reso=config.max_bucket_reso,
        buckets=buckets,
        subsets=[
            SubsetFacts(
                image_dir=subset.image_dir,
                captions=captions[subset.image_dir],
                num_repeats=subset.num_repeats,
                class_tokens=subset.class_tokens,
                keep_tokens=subset.keep_tokens,
                is_reg=subset.is_reg,
            )
            for subset in config.subsets
        ],
    )


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
