"""The plan of kohya's own dataset.toml: its folders and settings as they are, unmended, pictures as they are stored."""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig
from fluxgym_tui.plan.buckets import BucketSettings
from fluxgym_tui.plan.parts import PlanDataset, PlanImage, PlanSubset
from fluxgym_tui.plan.planning import TrainPlan, make_plan

ListImages = Callable[[Path], Iterable[PlanImage]]


def plan_from_toml(
    datasets: Sequence[DatasetConfig],
    list_images: ListImages,
    *,
    max_train_epochs: int | None = None,
    max_train_steps: int | None = None,
    gradient_accumulation_steps: int = 1,
    num_processes: int = 1,
    save_every_n_epochs: int | None = None,
    findings: Iterable[Finding] = (),
) -> TrainPlan:
    """The plan of what sd-scripts would do with `datasets`; the other arguments have its names.

    `list_images` gives the pictures right in a folder (none where it is missing) with their sizes as stored:
    sd-scripts looks neither into deeper folders nor at EXIF orientation.
    """
    said = list(findings)
    planned = []
    for index, dataset in enumerate(datasets):
        said += dataset.findings
        subsets = []
        for subset in dataset.subsets:
            images = sorted(list_images(subset.image_dir), key=lambda image: image.path)
            said += _subset_findings(subset, dataset, len(images), index)
            if not subset.is_reg and dataset.validation_split > 0:
                images = training_part(images, split=dataset.validation_split, seed=dataset.validation_seed)
            subsets.append(PlanSubset(images=tuple(images), num_repeats=subset.num_repeats, is_reg=subset.is_reg))
        planned.append(
            PlanDataset(settings=toml_settings(dataset), batch_size=dataset.batch_size, subsets=tuple(subsets))
        )
    return make_plan(
        planned,
        max_train_epochs=max_train_epochs,
        max_train_steps=max_train_steps,
        gradient_accumulation_steps=gradient_accumulation_steps,
        num_processes=num_processes,
        save_every_n_epochs=save_every_n_epochs,
        findings=said,
    )


def toml_settings(dataset: DatasetConfig) -> BucketSettings:
    """The bucket settings of a dataset of a dataset.toml, as they stand there."""
    return BucketSettings(
        dataset.resolution,
        enable_bucket=dataset.enable_bucket,
        min_bucket_reso=dataset.min_bucket_reso,
        max_bucket_reso=dataset.max_bucket_reso,
        bucket_reso_steps=dataset.bucket_reso_steps,
        bucket_no_upscale=dataset.bucket_no_upscale,
    )


def training_part(images: Sequence[PlanImage], *, split: float, seed: int | None) -> list[PlanImage]:
    """The pictures that are not held back for validation: sd-scripts shuffles them, then keeps the first part.

    `images` are in the order in which it lists them.
    """
    drawn = list(images)
    random.Random(0 if seed is None else seed).shuffle(drawn)
    kept = {image.path for image in drawn[: math.ceil(len(drawn) * (1 - split))]}
    return [image for image in images if image.path in kept]


def _subset_findings(subset: SubsetConfig, dataset: DatasetConfig, pictures: int, index: int) -> Iterable[Finding]:
    if not pictures:
        yield Finding(
            code="folder_empty",
            severity=Severity.WARNING,
            title=f"no pictures in {subset.image_dir}: sd-scripts leaves the folder out",
            fix="check image_dir; sd-scripts looks for png, jpg, jpeg, webp and bmp, not in deeper folders",
            path=str(subset.image_dir),
        )
    elif dataset.validation_split > 0 and not subset.is_reg and dataset.validation_seed is None:
        yield Finding(
            code="validation_unseeded",
            severity=Severity.WARNING,
            title=f"dataset {index + 1} holds pictures back for validation by a draw without validation_seed",
            detail="their number is exact here; which ones they are, and so the buckets, is not",
            fix="set validation_seed",
            path=str(subset.image_dir),
        )
