"""What is trained: the pictures of a dataset.toml, their captions and buckets, and the batches of an epoch."""

import glob
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding
from fluxgym_tui.base.text import count
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig, load_dataset_toml
from fluxgym_tui.dataset.captions import read_caption, trained_caption
from fluxgym_tui.plan.buckets import BucketFit, BucketSettings, check_flux_steps, fit
from fluxgym_tui.plan.steps import regularisation_repeats
from fluxgym_tui.trainer.captions import ORDERING_KEYS, VARYING_KEYS, Moment, moves_tokens, spoken_caption
from fluxgym_tui.trainer.options import TrainerOptions

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")  # in small or capital letters, as sd-scripts lists them
LATENT_PIXELS = 16  # a packed token is 2 x 2 latents of 8 x 8 pixels: sides are multiples of it

# What is done for a subset; everything else that differs from sd-scripts' default is refused by name.
# Tokens are kept only while captions are shuffled, which caches forbid; fluxgym writes keep_tokens all the same.
_HONOURED_SUBSET_KEYS = {
    "image_dir", "num_repeats", "class_tokens", "is_reg", "caption_extension", "alpha_mask", "conditioning_data_dir",
    *VARYING_KEYS, *ORDERING_KEYS,
}  # fmt: skip
_REFUSED_DATASET_KEYS = ("network_multiplier", "resize_interpolation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of one dataset: where it lies, what it is called, how it is cut and how often it comes an epoch.

    `size` is (width, height) as stored; `loss_weight` is 1 but for regularisation pictures; `mask` is the picture
    whose red says how much each place counts.
    """

    path: Path
    caption: str
    size: tuple[int, int]
    fit: BucketFit
    repeats: int
    subset: SubsetConfig
    loss_weight: float = 1.0
    mask: Path | None = None

    @property
    def masked(self) -> bool:
        """Whether its places count differently."""
        return self.mask is not None or self.subset.alpha_mask

    @property
    def settled_caption(self) -> str:
        """What it is called where nothing is left to chance: for measuring."""
        fixed = replace(
            self.subset,
            caption_dropout_rate=0.0,
            caption_dropout_every_n_epochs=0,
            caption_tag_dropout_rate=0.0,
            shuffle_caption=False,
            token_warmup_step=0.0,
        )
        moment = Moment(epoch=1, steps_done=0, total_steps=1)
        return spoken_caption(self.caption, fixed, moment=moment, draw=random.Random(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBatch:
    """What is trained at once: pictures of one dataset and one bucket, and what each of them is called this time.

    `cached_text` says that the captions' encodings are in the pictures' caches.
    """

    pictures: tuple[Picture, ...]
    captions: tuple[str, ...]
    cached_text: bool = True


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The pictures of one dataset, which share resolution and batch size."""

    pictures: tuple[Picture, ...]
    config: DatasetConfig


@dataclass(frozen=True, slots=True)
class TrainingData:
    """All datasets of a training. What an epoch trains, and in what order, follows from `seed` and its number alone."""

    sets: tuple[TrainingSet, ...]
    seed: int
    findings: tuple[Finding, ...] = ()
    validation: tuple[TrainingSet, ...] = ()

    @property
    def pictures(self) -> list[Picture]:
        """Every picture that is trained, once for each dataset it is in."""
        return [picture for dataset in self.sets for picture in dataset.pictures]

    @property
    def kept_back(self) -> list[Picture]:
        """Every picture that is kept back for validation, once for each dataset it is in."""
        return [picture for dataset in self.validation for picture in dataset.pictures]

    def validation_batches(self) -> list[tuple[Picture, ...]]:
        """The batches of validation, always the same."""
        batches: list[tuple[Picture, ...]] = []
        for dataset in self.validation:
            buckets: defaultdict[tuple[int, int], list[Picture]] = defaultdict(list)
            for picture in dataset.pictures:
                buckets[picture.fit.bucket].append(picture)
            size = dataset.config.batch_size
            for bucket in sorted(buckets):
                pictures = buckets[bucket]
                batches += [tuple(pictures[start : start + size]) for start in range(0, len(pictures), size)]
        return batches

    def batches(self, *, epoch: int) -> list[tuple[Picture, ...]]:
        """The batches of `epoch` (from 1): each of one dataset and one bucket, pictures and batches shuffled."""
        order = random.Random(f"{self.seed} {epoch}")
        batches: list[tuple[Picture, ...]] = []
        for dataset in self.sets:
            buckets: defaultdict[tuple[int, int], list[Picture]] = defaultdict(list)
            for picture in dataset.pictures:
                buckets[picture.fit.bucket].extend([picture] * picture.repeats)
            for bucket in sorted(buckets):
                pictures = buckets[bucket]
                order.shuffle(pictures)
                size = dataset.config.batch_size
                batches += [tuple(pictures[start : start + size]) for start in range(0, len(pictures), size)]
        order.shuffle(batches)
        return batches

    def named(self, pictures: tuple[Picture, ...], *, moment: Moment, batch: int, cached_text: bool) -> PictureBatch:
        """`pictures` with their captions as of `moment`; `batch` is their number in the epoch.

        What chance decides of captions follows from the seed, the epoch and that number.
        """
        if cached_text:
            return PictureBatch(pictures=pictures, captions=tuple(picture.caption for picture in pictures))
        draw = random.Random(f"{self.seed} {moment.epoch} captions {batch}")
        spoken = (spoken_caption(p.caption, p.subset, moment=moment, draw=draw) for p in pictures)
        return PictureBatch(pictures=pictures, captions=tuple(spoken), cached_text=False)


def load_training_data(options: TrainerOptions, *, seed: int) -> TrainingData:
    """The pictures that `options` train.

    Raises:
        FluxgymError: the dataset.toml cannot be used, asks for what is not done, or leaves no picture to train.
    """
    datasets = load_dataset_toml(options.dataset_config, fallback=_fallback(options))
    _refuse_idle_ordering(options, datasets)
    both = [_training_sets(dataset, options, seed=seed) for dataset in datasets]
    sets = tuple(trained for trained, _ in both)
    if not any(dataset.pictures for dataset in sets):
        folders = ", ".join(str(subset.image_dir) for dataset in datasets for subset in dataset.subsets) or "no folder"
        raise FluxgymError(
            f"There is no picture to train: {options.dataset_config} names {folders}.",
            hint=f"Put pictures there ({' '.join(EXTENSIONS)}), or correct image_dir.",
        )
    findings = tuple(finding for dataset in datasets for finding in dataset.findings)
    data = TrainingData(sets, seed, findings, tuple(kept for _, kept in both if kept.pictures))
    _refuse_idle_validation(options, data)
    _refuse_idle_masks(options, data)
    return data


def list_pictures(folder: Path) -> list[Path]:
    """The pictures that sd-scripts finds in `folder`: its own files, not those of folders in it, sorted by name."""
    pattern = Path(glob.escape(str(folder)))
    found = {
        path
        for extension in EXTENSIONS
        for spelling in (extension, extension.upper())
        for path in glob.glob(str(pattern / f"*{spelling}"))  # noqa: PTH207 - hides dot files, as sd-scripts' own does
    }
    return [Path(path) for path in sorted(found)]


def _fallback(options: TrainerOptions) -> dict[str, object]:
    names = (
        "resolution", "train_batch_size", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps",
        "bucket_no_upscale", "caption_extension", "alpha_mask",
        "validation_split", "validation_seed", *VARYING_KEYS, *ORDERING_KEYS,
    )  # fmt: skip
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _training_sets(dataset: DatasetConfig, options: TrainerOptions, *, seed: int) -> tuple[TrainingSet, TrainingSet]:
    """What of `dataset` is trained, and what is kept back for validation."""
    _refuse_unhonoured(dataset, options.dataset_config)
    if options.cached_text:
        _refuse_varying(dataset, options.dataset_config)
    settings = BucketSettings(
        resolution=dataset.resolution,
        enable_bucket=dataset.enable_bucket,
        min_bucket_reso=dataset.min_bucket_reso,
        max_bucket_reso=dataset.max_bucket_reso,
        bucket_reso_steps=dataset.bucket_reso_steps,
        bucket_no_upscale=dataset.bucket_no_upscale,
    )
    check_flux_steps(settings)
    found, kept = [], []
    for subset in dataset.subsets:
        trained, validated = _split(list_pictures(subset.image_dir), subset, dataset, seed=seed)
        found += [(path, subset) for path in trained]
        kept += [(path, subset) for path in validated]
    pictures = [_picture(path, subset, settings, options) for path, subset in found]
    pictures = _with_regularisation(pictures, [subset.is_reg for _, subset in found])
    kept_back = [replace(_picture(path, subset, settings, options), repeats=1) for path, subset in kept]
    return TrainingSet(tuple(pictures), dataset), TrainingSet(tuple(kept_back), dataset)


def _split(
    paths: list[Path], subset: SubsetConfig, dataset: DatasetConfig, *, seed: int
) -> tuple[list[Path], list[Path]]:
    """`paths` to train and to validate, as sd-scripts shuffles and splits them; regularisation is trained whole.

    Where no validation_seed is given sd-scripts splits twice at random, so that pictures are in both: here the run's
    own seed takes its place.
    """
    share = dataset.validation_split
    if not share or subset.is_reg:
        return paths, []
    shuffled = list(paths)
    random.Random(seed if dataset.validation_seed is None else dataset.validation_seed).shuffle(shuffled)
    trained = shuffled[: math.ceil(len(paths) * (1 - share))]
    return trained, shuffled[len(paths) - round(len(paths) * share) :]


def _picture(path: Path, subset: SubsetConfig, settings: BucketSettings, options: TrainerOptions) -> Picture:
    size = _stored_size(path)
    cut = fit(*size, settings)
    if any(side % LATENT_PIXELS for side in cut.bucket):
        raise FluxgymError(
            f"{path} would be trained at {cut.bucket[0]}x{cut.bucket[1]}; FLUX needs multiples of {LATENT_PIXELS}.",
            hint=f"Make both sides of the resolution multiples of {LATENT_PIXELS}, or turn buckets on.",
        )
    return Picture(
        path=path,
        caption=_caption(path, subset),
        size=size,
        fit=cut,
        repeats=subset.num_repeats,
        subset=subset,
        loss_weight=options.prior_loss_weight if subset.is_reg else 1.0,
        mask=None if subset.conditioning_data_dir is None else _mask(path, subset.conditioning_data_dir, size),
    )


def _mask(path: Path, folder: Path, size: tuple[int, int]) -> Path:
    """The picture of the same stem in `folder`, which must be as large."""
    found = [candidate for candidate in list_pictures(folder) if candidate.stem == path.stem]
    if not found:
        raise FluxgymError(
            f"{folder} has no mask for {path.name}.",
            hint="Put a picture of the same name there, white where it counts.",
        )
    if (masked := _stored_size(found[0])) != size:
        raise FluxgymError(
            f"{found[0]} is {masked[0]}x{masked[1]}, and its picture {size[0]}x{size[1]}.",
            hint="Make the mask as large as its picture.",
        )
    return found[0]


def _stored_size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:  # reads the header alone
            return image.size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise FluxgymError(
            f"{path}: this is not a picture that can be read: {error}",
            hint="Replace it or take it out of the dataset.",
        ) from error


def _caption(path: Path, subset: SubsetConfig) -> str:
    """What sd-scripts trains the picture with: the first line of its caption file, else the subset's class_tokens."""
    file = path.with_suffix(subset.caption_extension)
    if not file.is_file():
        return subset.class_tokens or ""
    try:
        caption = read_caption(file)
    except OSError as error:
        raise FluxgymError(f"{file}: the caption cannot be read: {error.strerror}", hint="Check the file.") from error
    if caption.problem == "binary" or not caption.text:
        raise FluxgymError(
            f"{file}: the caption is {'no text' if caption.problem else 'empty'}",
            hint="Write the caption into its first line, or remove the file to train the picture with class_tokens.",
        )
    if subset.enable_wildcard:  # each line is one of several captions
        return "\n".join(stripped for line in caption.text.splitlines() if (stripped := line.strip()))
    return trained_caption(caption.text)


def _with_regularisation(pictures: list[Picture], is_regularisation: list[bool]) -> list[Picture]:
    """`pictures` with those of regularisation repeated to the number of the others; spare ones are not trained."""
    both = list(zip(pictures, is_regularisation, strict=True))
    trained = [picture for picture, regularises in both if not regularises]
    others = [picture for picture, regularises in both if regularises]
    repeats = regularisation_repeats(
        [picture.repeats for picture in others], train_pictures=sum(picture.repeats for picture in trained)
    )
    return trained + [replace(picture, repeats=n) for picture, n in zip(others, repeats, strict=True) if n]


def _refuse_unhonoured(dataset: DatasetConfig, file: Path) -> None:
    plain_dataset = DatasetConfig(resolution=dataset.resolution)
    wrong = [name for name in _REFUSED_DATASET_KEYS if getattr(dataset, name) != getattr(plain_dataset, name)]
    for subset in dataset.subsets:
        plain = SubsetConfig(image_dir=subset.image_dir)
        wrong += [
            field.name
            for field in fields(subset)
            if field.name not in _HONOURED_SUBSET_KEYS and getattr(subset, field.name) != getattr(plain, field.name)
        ]
    if wrong:
        names = ", ".join(dict.fromkeys(wrong))
        raise FluxgymError(
            f"{file}: the built-in trainer does not do {names}.",
            hint=f"Take {count(len(set(wrong)), 'key')} out of the file, or train with the kohya backend.",
        )


def _refuse_idle_validation(options: TrainerOptions, data: TrainingData) -> None:
    """FluxgymError where validation is asked for and no picture is kept back."""
    split = any(dataset.config.validation_split for dataset in data.sets)
    if split and not data.kept_back:
        raise FluxgymError(
            f"{options.dataset_config}: validation_split keeps none of {count(len(data.pictures), 'picture')} back.",
            hint="Raise it: 0.2 keeps one of five.",
        )
    for name in ("validation_seed", "validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps"):
        if not split and getattr(options, name) is not None:
            raise FluxgymError(
                f"--{name} has no effect: no picture is kept back.", hint="Add --validation_split 0.2, or leave it out."
            )


def _refuse_idle_masks(options: TrainerOptions, data: TrainingData) -> None:
    """FluxgymError where masks are asked for and there are none, or are there and not asked for."""
    pictures = data.pictures + data.kept_back
    if options.masked_loss and not any(picture.masked for picture in pictures):
        raise FluxgymError(
            f"--masked_loss has no effect: no subset in {options.dataset_config} has masks.",
            hint="Write alpha_mask = true (transparency) or conditioning_data_dir = 'FOLDER' (masks) in its subsets.",
        )
    if not options.masked_loss and any(picture.mask is not None for picture in pictures):
        raise FluxgymError(
            f"{options.dataset_config}: conditioning_data_dir needs --masked_loss.",
            hint="Add --masked_loss: its pictures then say how much each place counts.",
        )


def _refuse_idle_ordering(options: TrainerOptions, datasets: Sequence[DatasetConfig]) -> None:
    """FluxgymError where a flag arranges tokens that nothing moves. (In a file it may stand: fluxgym writes it.)"""
    subsets = [subset for dataset in datasets for subset in dataset.subsets]
    plain = SubsetConfig(image_dir=Path())
    for name in ORDERING_KEYS:
        moved = any(moves_tokens(subset) for subset in subsets)
        if name == "caption_separator":
            moved |= any(subset.secondary_separator for subset in subsets)  # which becomes it
        if not moved and getattr(options, name) != getattr(plain, name):
            raise FluxgymError(
                f"--{name} has no effect: no token of a caption is shuffled, left out or held back.",
                hint="Leave it out, or add --shuffle_caption and leave out --cache_text_encoder_outputs_to_disk.",
            )


def _refuse_varying(dataset: DatasetConfig, file: Path) -> None:
    """FluxgymError where captions would change from batch to batch, while their encodings are cached for good."""
    for subset in dataset.subsets:
        plain = SubsetConfig(image_dir=subset.image_dir)
        if varying := [name for name in VARYING_KEYS if getattr(subset, name) != getattr(plain, name)]:
            raise FluxgymError(
                f"{file}: {', '.join(varying)} cannot be had while the text encoders' outputs are cached.",
                hint="Leave out --cache_text_encoder_outputs and --cache_text_encoder_outputs_to_disk: the encoders"
                " then stay loaded. Or take these keys out.",
            )
