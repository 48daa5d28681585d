"""The plan of a training: every picture's bucket, the steps, the files to come, and what there is to say about it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fluxgym_tui.base.findings import Finding, Severity, blocking
from fluxgym_tui.plan.advice import (
    bucket_findings,
    no_bucket_finding,
    picture_findings,
    set_findings,
    settings_findings,
)
from fluxgym_tui.plan.buckets import BucketError, BucketFit, BucketSettings, Size, fit
from fluxgym_tui.plan.parts import PlanDataset, PlanImage, PlannedBucket, PlannedImage, PlanSubset
from fluxgym_tui.plan.prompts import made_prompts, prompt_findings
from fluxgym_tui.plan.steps import (
    Round,
    batches,
    checkpoint_rounds,
    count_steps,
    fluxgym_estimate,
    regularisation_repeats,
    sample_rounds,
    step_formula,
)

__all__ = [
    "PlanDataset",
    "PlanImage",
    "PlanSubset",
    "PlannedBucket",
    "PlannedImage",
    "StepPlan",
    "TrainPlan",
    "make_plan",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """The length of the training; `total` and `epochs` are None where it cannot start.

    `formula` is how it came about, in words; `fluxgym` is what fluxgym would have shown, None where it shows nothing.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    epochs: int | None
    total: int | None
    formula: str
    fluxgym: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """What will happen. `samples` and `checkpoints` are moments; a sample round makes one picture of each prompt.

    `checkpoints` are the LoRA files before the final one; `disk_bytes` is what all LoRA files take together, None
    where the size of one is not known.
    """

    datasets: tuple[PlanDataset, ...]
    images: tuple[PlannedImage, ...]
    buckets: tuple[PlannedBucket, ...]
    steps: StepPlan
    samples: tuple[Round, ...]
    prompts: int
    checkpoints: tuple[Round, ...]
    disk_bytes: int | None
    findings: tuple[Finding, ...]

    @property
    def trains(self) -> bool:
        """Whether a training with this plan would start and train something."""
        return self.steps.total is not None

    def to_json(self) -> dict[str, Any]:
        """The plan as `plan --json` prints it; `lost` is the share of the resized picture that is cut away, 0 to 1."""
        return {
            "buckets": [
                {
                    "dataset": bucket.dataset,
                    "width": bucket.size[0],
                    "height": bucket.size[1],
                    "images": bucket.images,
                    "repeated": bucket.repeated,
                    "batches": bucket.batches,
                }
                for bucket in self.buckets
            ],
            "images": [_image_json(planned) for planned in self.images],
            "steps": {
                "batches_per_epoch": self.steps.batches_per_epoch,
                "steps_per_epoch": self.steps.steps_per_epoch,
                "epochs": self.steps.epochs,
                "total": self.steps.total,
            },
            "findings": [finding.to_json() for finding in self.findings],
        }


def make_plan(
    datasets: Sequence[PlanDataset],
    *,
    max_train_epochs: int | None = None,
    max_train_steps: int | None = None,
    gradient_accumulation_steps: int = 1,
    num_processes: int = 1,
    save_every_n_epochs: int | None = None,
    save_every_n_steps: int | None = None,
    save_n_epoch_ratio: int | None = None,
    sample_every_n_steps: int | None = None,
    sample_every_n_epochs: int | None = None,
    sample_at_first: bool = False,
    prompts: Sequence[str] = (),
    lora_bytes: int | None = None,
    findings: Iterable[Finding] = (),
) -> TrainPlan:
    """The plan for `datasets`, as sd-scripts would carry it out; the arguments have its names.

    `prompts` are the lines of the sample prompts, `lora_bytes` the size of one LoRA file, `findings` what is already
    known about the pictures and settings: they come first in the plan's.
    """
    images: list[PlannedImage] = []
    problems = list(findings)
    left_out: Counter[int] = Counter()
    for index, dataset in enumerate(datasets):
        said = settings_findings(dataset)
        planned = _planned(index, dataset)
        left_out[index] = sum(image.repeats == 0 for image in planned)
        planned = [image for image in planned if image.repeats]
        if not blocking(said):
            planned, unfit = _fitted(planned, dataset.settings)
            said += unfit
        images += planned
        problems += said
    buckets = _buckets(datasets, images)
    lengths = _length_findings(max_train_epochs, max_train_steps, gradient_accumulation_steps, num_processes)
    counts = count_steps(
        0 if lengths else sum(bucket.batches for bucket in buckets),
        max_train_epochs=max_train_epochs,
        max_train_steps=max_train_steps,
        gradient_accumulation_steps=gradient_accumulation_steps,
        num_processes=num_processes,
    )
    problems += set_findings(images, left_out=left_out)
    problems += lengths
    trains = counts.total > 0 and not blocking(problems)
    formula = step_formula(
        counts,
        [(bucket.repeated, datasets[bucket.dataset].batch_size) for bucket in buckets],
        by_epochs=max_train_epochs is not None,
        gradient_accumulation_steps=gradient_accumulation_steps,
        num_processes=num_processes,
    )
    steps = StepPlan(
        batches_per_epoch=counts.batches_per_epoch,
        steps_per_epoch=counts.steps_per_epoch,
        epochs=counts.epochs if trains else None,
        total=counts.total if trains else None,
        formula=formula if trains else "nothing would train",
        fluxgym=_fluxgym_says(datasets, max_train_epochs) if trains else None,
    )
    problems += picture_findings(datasets, images) + bucket_findings(datasets, buckets) + _estimate_findings(steps)
    made = made_prompts(prompts)
    problems += prompt_findings(
        prompts,
        sample_every_n_steps=sample_every_n_steps,
        sample_every_n_epochs=sample_every_n_epochs,
        sample_at_first=sample_at_first,
    )
    checkpoints = checkpoint_rounds(
        counts,
        save_every_n_epochs=save_every_n_epochs,
        save_every_n_steps=save_every_n_steps,
        save_n_epoch_ratio=save_n_epoch_ratio,
    )
    samples = sample_rounds(
        counts,
        sample_every_n_steps=sample_every_n_steps,
        sample_every_n_epochs=sample_every_n_epochs,
        sample_at_first=sample_at_first,
    )
    return TrainPlan(
        datasets=tuple(datasets),
        images=tuple(images),
        buckets=tuple(buckets),
        steps=steps,
        samples=tuple(samples) if trains and made else (),
        prompts=len(made),
        checkpoints=tuple(checkpoints) if trains else (),
        disk_bytes=lora_bytes * (len(checkpoints) + 1) if trains and lora_bytes is not None else None,
        findings=tuple(problems),
    )


def _image_json(planned: PlannedImage) -> dict[str, Any]:
    fitted = planned.fit
    return {
        "path": planned.image.path,
        "width": planned.image.width,
        "height": planned.image.height,
        "bucket": None if fitted is None else list(fitted.bucket),
        "resized": None if fitted is None else list(fitted.resized),
        "crop": None if fitted is None else list(fitted.crop),
        "lost": None if fitted is None else round(fitted.lost, 6),
    }


def _planned(index: int, dataset: PlanDataset) -> list[PlannedImage]:
    """Every picture of the dataset and how often it is trained; its bucket is still open."""
    subsets = [subset for subset in dataset.subsets if subset.num_repeats > 0]
    train_pictures = sum(subset.num_repeats * len(subset.images) for subset in subsets if not subset.is_reg)
    reg_repeats = iter(
        regularisation_repeats(
            [subset.num_repeats for subset in subsets if subset.is_reg for _ in subset.images],
            train_pictures=train_pictures,
        )
    )
    return [
        PlannedImage(
            dataset=index,
            image=image,
            repeats=next(reg_repeats) if subset.is_reg else subset.num_repeats,
            is_reg=subset.is_reg,
            fit=None,
        )
        for subset in subsets
        for image in subset.images
    ]


def _fitted(images: Iterable[PlannedImage], settings: BucketSettings) -> tuple[list[PlannedImage], list[Finding]]:
    """`images` with their buckets, and a finding for each that has none."""
    known: dict[Size, BucketFit | BucketError] = {}  # phones take thousands of pictures of one size
    fitted: list[PlannedImage] = []
    unfit: list[Finding] = []
    for planned in images:
        size = planned.image.size
        if size not in known:
            try:
                known[size] = fit(*size, settings)
            except BucketError as error:
                known[size] = error
        found = known[size]
        if isinstance(found, BucketError):
            unfit.append(no_bucket_finding(planned.image.path, found))
            fitted.append(planned)
        else:
            fitted.append(replace(planned, fit=found))
    return fitted, unfit


def _buckets(datasets: Sequence[PlanDataset], images: Iterable[PlannedImage]) -> list[PlannedBucket]:
    """The buckets that hold pictures, by dataset, width and height."""
    pictures: Counter[tuple[int, Size]] = Counter()
    repeated: Counter[tuple[int, Size]] = Counter()
    for planned in images:
        if planned.fit is not None:
            key = (planned.dataset, planned.fit.bucket)
            pictures[key] += 1
            repeated[key] += planned.repeats
    return [
        PlannedBucket(
            dataset=index,
            size=size,
            images=pictures[index, size],
            repeated=repeated[index, size],
            batches=batches(repeated[index, size], batch_size=datasets[index].batch_size),
        )
        for index, size in sorted(pictures)
    ]


def _fluxgym_says(datasets: Sequence[PlanDataset], epochs: int | None) -> int | None:
    if epochs is None:
        return None
    subsets = [(len(subset.images), subset.num_repeats) for dataset in datasets for subset in dataset.subsets]
    return fluxgym_estimate(subsets, epochs=epochs)


def _estimate_findings(steps: StepPlan) -> list[Finding]:
    if steps.fluxgym is None or steps.total is None or steps.fluxgym == steps.total:
        return []
    return [
        Finding(
            code="fluxgym_estimate",
            severity=Severity.ADVICE,
            title=f"fluxgym would say {steps.fluxgym:,}; it is {steps.total:,}",
            detail=steps.formula,
        )
    ]


def _length_findings(epochs: int | None, steps: int | None, accumulation: int, processes: int) -> list[Finding]:
    """Errors for lengths that train nothing, by the setting's name."""
    asked = {
        "max_train_epochs": epochs,
        "max_train_steps": steps if epochs is None else None,
        "gradient_accumulation_steps": accumulation,
        "num_processes": processes,
    }
    return [
        Finding(code="no_length", severity=Severity.ERROR, title=f"{name} is {value}", fix="use 1 or more")
        for name, value in asked.items()
        if value is not None and value < 1
    ]
