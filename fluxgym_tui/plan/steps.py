"""How many steps a training takes, and which of them save or sample: sd-scripts' counting, as pure arithmetic."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxgym_tui.base.text import count

DEFAULT_MAX_TRAIN_STEPS = 1600  # what sd-scripts trains when neither epochs nor steps are said


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """The length of a training. A step is one update of the weights; all zero where there is nothing to train.

    `batches_per_epoch` counts all processes together; `steps_per_epoch` is what a full epoch takes.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    epochs: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One moment at which a training saves or samples. `epoch` is None where it was a count of steps that set it."""

    step: int
    epoch: int | None = None


def batches(repeated: int, *, batch_size: int) -> int:
    """Batches of a bucket that holds `repeated` pictures, each as often as it is repeated; the last may be smaller."""
    return -(-repeated // batch_size)


def count_steps(
    batches_per_epoch: int,
    *,
    max_train_epochs: int | None = None,
    max_train_steps: int | None = None,
    gradient_accumulation_steps: int = 1,
    num_processes: int = 1,
) -> StepCounts:
    """The length of a training over `batches_per_epoch` batches.

    Epochs beat steps where both are said, as in sd-scripts; where neither is, it trains 1600 steps. Accumulation never
    reaches over the end of an epoch, so a rest of batches makes a step of its own.
    """
    if batches_per_epoch < 1:
        return StepCounts(batches_per_epoch=0, steps_per_epoch=0, epochs=0, total=0)
    per_process = -(-batches_per_epoch // num_processes)
    steps_per_epoch = -(-per_process // gradient_accumulation_steps)
    if max_train_epochs is not None:
        total = max_train_epochs * steps_per_epoch
    else:
        total = DEFAULT_MAX_TRAIN_STEPS if max_train_steps is None else max_train_steps
    return StepCounts(
        batches_per_epoch=batches_per_epoch,
        steps_per_epoch=steps_per_epoch,
        epochs=-(-total // steps_per_epoch),
        total=total,
    )


def regularisation_repeats(num_repeats: Sequence[int], *, train_pictures: int) -> list[int]:
    """How often each regularisation picture is trained in an epoch; 0 for those that are not used.

    `num_repeats` has one entry a picture, in sd-scripts' order: subset by subset, by name; `train_pictures` counts the
    other pictures of the dataset with their repeats. Pictures are taken until as many are there; where they are too
    few, each in turn is repeated once more.
    """
    used: list[int] = []
    missing = train_pictures
    for repeats in num_repeats:
        if missing <= 0:
            break
        used.append(repeats)
        missing -= repeats
    if missing > 0 and used:
        rounds, rest = divmod(missing, len(used))
        used = [repeats + rounds + (index < rest) for index, repeats in enumerate(used)]
    return used + [0] * (len(num_repeats) - len(used))


def fluxgym_estimate(pictures: Iterable[tuple[int, int]], *, epochs: int) -> int:
    """The steps that fluxgym shows for (pictures, num_repeats) of each folder: it looks at no batch and no bucket."""
    return sum(count * num_repeats for count, num_repeats in pictures) * epochs


def epochs_between_saves(
    counts: StepCounts, *, save_every_n_epochs: int | None = None, save_n_epoch_ratio: int | None = None
) -> int | None:
    """After how many epochs a LoRA is saved; `save_n_epoch_ratio` (at least so many files) beats the other."""
    if save_n_epoch_ratio is not None and save_n_epoch_ratio > 0:
        return counts.epochs // save_n_epoch_ratio or 1
    return save_every_n_epochs


def checkpoint_rounds(
    counts: StepCounts,
    *,
    save_every_n_epochs: int | None = None,
    save_every_n_steps: int | None = None,
    save_n_epoch_ratio: int | None = None,
) -> list[Round]:
    """When LoRA files are written besides the final one, by step: one entry a file. The last epoch has none of its own.

    0 is taken as None: never.
    """
    every = epochs_between_saves(counts, save_every_n_epochs=save_every_n_epochs, save_n_epoch_ratio=save_n_epoch_ratio)
    rounds = [Round(step=step) for step in _multiples(save_every_n_steps, counts.total)]
    rounds += [_end_of_epoch(epoch, counts) for epoch in _multiples(every, counts.epochs - 1)]
    return sorted(rounds, key=lambda moment: moment.step)


def sample_rounds(
    counts: StepCounts,
    *,
    sample_every_n_steps: int | None = None,
    sample_every_n_epochs: int | None = None,
    sample_at_first: bool = False,
) -> list[Round]:
    """When sample pictures are made, by step: one round makes one picture of each prompt. Epochs beat steps.

    0 is taken as None: never.
    """
    rounds = [Round(step=0)] if sample_at_first else []
    if sample_every_n_epochs:
        return rounds + [_end_of_epoch(epoch, counts) for epoch in _multiples(sample_every_n_epochs, counts.epochs)]
    return rounds + [Round(step=step) for step in _multiples(sample_every_n_steps, counts.total)]


def step_formula(
    counts: StepCounts,
    buckets: Sequence[tuple[int, int]],
    *,
    by_epochs: bool,
    gradient_accumulation_steps: int = 1,
    num_processes: int = 1,
) -> str:
    """How `counts` came about, for people; `buckets` has (repeated pictures, batch size) of each bucket."""
    if counts.total == 0:
        return "nothing to train"
    # A large set has dozens of buckets: the sum is shown as far as a person would check it.
    shown = " + ".join(f"ceil({repeated}/{batch_size})" for repeated, batch_size in buckets[:4])
    more = f" + ... ({len(buckets)} buckets)" if len(buckets) > 4 else ""
    an_epoch = f"{count(counts.steps_per_epoch, 'step')} an epoch"
    parts = [f"{shown}{more} = {count(counts.batches_per_epoch, 'batch', 'batches')} an epoch"]
    divisors = [(num_processes, "processes"), (gradient_accumulation_steps, "accumulated")]
    if any(number > 1 for number, _ in divisors):
        divided = "".join(f" / {number} {word}" for number, word in divisors if number > 1)
        parts.append(f"ceil({counts.batches_per_epoch:,}{divided}) = {an_epoch}")
    if by_epochs:
        epochs = count(counts.epochs, "epoch")
        parts.append(f"{counts.steps_per_epoch:,} x {epochs} = {count(counts.total, 'step')}")
    else:
        parts.append(f"{count(counts.total, 'step')} = {_epochs_in_words(counts)}")
    return "; ".join(parts)


def _epochs_in_words(counts: StepCounts) -> str:
    rest = counts.total % counts.steps_per_epoch
    if not rest:
        return count(counts.epochs, "epoch")
    if counts.epochs == 1:
        return f"{rest:,} of an epoch's {count(counts.steps_per_epoch, 'step')}"
    return f"{count(counts.epochs - 1, 'epoch')} and {rest:,} of the next one's {count(counts.steps_per_epoch, 'step')}"


def _multiples(every: int | None, last: int) -> range:
    return range(every, last + 1, every) if every is not None and every > 0 else range(0)


def _end_of_epoch(epoch: int, counts: StepCounts) -> Round:
    return Round(step=min(epoch * counts.steps_per_epoch, counts.total), epoch=epoch)
