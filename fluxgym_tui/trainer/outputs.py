"""The LoRA files and states that a training leaves, under sd-scripts' names."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import torch

from fluxgym_tui.plan.steps import Round
from fluxgym_tui.trainer.checkpoint import save_lora
from fluxgym_tui.trainer.data import TrainingSet
from fluxgym_tui.trainer.learner import Learner
from fluxgym_tui.trainer.metadata import (
    DatasetFacts,
    SubsetFacts,
    TrainingFacts,
    checkpoint_metadata,
    training_metadata,
)
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.setup import Setup, save_every_n_epochs
from fluxgym_tui.trainer.state import TrainState, write_state


class CheckpointWriter:
    """Writes the LoRA as it is, whole or not at all, under sd-scripts' names."""

    def __init__(self, setup: Setup, learner: Learner, *, facts: TrainingFacts, report: Reporter) -> None:
        self._setup = setup
        self._learner = learner
        self._report = report
        self._metadata = training_metadata(setup.options, facts)
        # As in sd-scripts: the precision of training where none is asked for.
        trained = "bf16" if setup.dtype is torch.bfloat16 else "float"
        self._precision = setup.options.save_precision or trained

    def save_rounds(self, *, step: int, epoch: int) -> bool:
        """The checkpoints that fall on `step`, which is in `epoch`, each with its state if states are asked for.

        Those that `save_last_n_...` keeps no longer are removed. Whether there were any.
        """
        options = self._setup.options
        due = [moment for moment in self._setup.checkpoints if moment.step == step]
        for moment in due:
            self._save_lora(self._name(moment), step=step, epoch=epoch)
            kept_epochs, kept_steps = options.save_last_n_epochs, options.save_last_n_steps
            if (old := self._outdated(moment, epochs=kept_epochs, steps=kept_steps)) is not None:
                (options.output_dir / f"{self._name(old)}.safetensors").unlink(missing_ok=True)
            if options.save_state:
                self._save_state(self._name(moment), step=step, epoch=epoch)
                kept_epochs = options.save_last_n_epochs_state or kept_epochs
                kept_steps = options.save_last_n_steps_state or kept_steps
                if (old := self._outdated(moment, epochs=kept_epochs, steps=kept_steps)) is not None:
                    shutil.rmtree(options.output_dir / f"{self._name(old)}-state", ignore_errors=True)
        return bool(due)

    def save_last(self) -> Path:
        """The LoRA of the whole training, and its state if that is asked for."""
        options, counts = self._setup.options, self._setup.counts
        path = self._save_lora(self._setup.output_name, step=counts.total, epoch=counts.epochs)
        if options.save_state or options.save_state_on_train_end:
            self._save_state(self._setup.output_name, step=counts.total, epoch=counts.epochs)
        return path

    def save_stopped(self, *, step: int, epoch: int) -> None:
        """The state of a training that stops after `step`: a resume loses nothing."""
        self._save_state(self._name(Round(step=step)), step=step, epoch=epoch)

    def _save_lora(self, name: str, *, step: int, epoch: int) -> Path:
        path = self._setup.options.output_dir / f"{name}.safetensors"
        self._report.phase("save")
        metadata = checkpoint_metadata(self._metadata, step=step, epoch=epoch)
        with self._learner.averaged():
            save_lora(path, self._learner.network, metadata=metadata, save_precision=self._precision)
        self._report.checkpoint(path, step=step, epoch=epoch)
        return path

    def _save_state(self, name: str, *, step: int, epoch: int) -> None:
        folder = self._setup.options.output_dir / f"{name}-state"
        numbers, tensors = self._learner.capture()
        write_state(
            folder,
            TrainState(
                step=step,
                epoch=epoch,
                seed=self._setup.seed,
                batches_per_epoch=self._setup.counts.batches_per_epoch,
                losses=tuple(self._learner.losses),
                numbers=numbers,
                tensors=tensors,
            ),
        )
        self._report.say(f"saved {folder}")

    def _name(self, moment: Round) -> str:
        number = f"{moment.epoch:06d}" if moment.epoch is not None else f"step{moment.step:08d}"
        return f"{self._setup.output_name}-{number}"

    def _outdated(self, newest: Round, *, epochs: int | None, steps: int | None) -> Round | None:
        """What goes when `newest` comes, if so many epochs' checkpoints, or those of so many steps, are kept."""
        options = self._setup.options
        if newest.epoch is not None:
            every = save_every_n_epochs(options, self._setup.counts)
            if epochs is None or every is None:
                return None
            epoch = newest.epoch - every * epochs
            return Round(step=epoch * self._setup.counts.steps_per_epoch, epoch=epoch) if epoch > 0 else None
        if steps is None or options.save_every_n_steps is None:
            return None
        step = newest.step - steps - 1
        step -= step % options.save_every_n_steps
        return Round(step=step) if step > 0 else None


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
