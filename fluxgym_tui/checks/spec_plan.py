"""The plan of a spec: its folders scanned, its settings mended where FLUX needs it, its steps counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.checks.toml_plan import kohya_pictures
from fluxgym_tui.config.dataset_toml import DatasetConfig
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.dataset.advice import staging_advice
from fluxgym_tui.dataset.pixels import staged_size
from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.scanned import ScannedImage, ScanResult
from fluxgym_tui.dataset.staged_names import staged_stems
from fluxgym_tui.dataset.staging import StageSource
from fluxgym_tui.plan.buckets import BucketSettings
from fluxgym_tui.plan.from_spec import bucket_settings
from fluxgym_tui.plan.from_toml import toml_settings, training_part
from fluxgym_tui.plan.parts import PlanDataset, PlanImage, PlanSubset
from fluxgym_tui.plan.planning import TrainPlan, make_plan
from fluxgym_tui.plan.sizes import FluxShape, lora_file_bytes

# Of one folder among several these say too much; the plan says them of all folders together.
_SAID_OF_ALL_FOLDERS = frozenset({"no_pictures", "one_picture"})
_NAMED_REJECTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecPlan:
    """A spec's plan with what it was made of: the folders in their order, and what was found in each.

    `keep_alpha`: the loss is weighed by the pictures' transparency, so that staging keeps it.
    """

    sources: tuple[StageSource, ...]
    scans: tuple[ScanResult, ...]
    settings: BucketSettings
    plan: TrainPlan
    keep_alpha: bool = False

    @property
    def pictures(self) -> int:
        """Pictures that can be trained."""
        return sum(len(result.images) for result in self.scans)


def stage_sources(spec: TrainSpec) -> tuple[StageSource, ...]:
    """The folders of `spec` in their order: the dataset's, then its subsets', which take from it what they lack."""
    dataset = spec.dataset
    first = StageSource(dataset.path, trigger=spec.trigger, num_repeats=dataset.num_repeats)
    more = (
        StageSource(
            subset.path,
            trigger=subset.trigger or spec.trigger,
            num_repeats=subset.num_repeats or dataset.num_repeats,
            is_reg=subset.is_reg,
        )
        for subset in dataset.subsets
    )
    return (first, *more)


def plan_spec(
    spec: TrainSpec,
    *,
    flags: Mapping[str, FlagValue],
    transformer: Path | None = None,
    scanned: Mapping[Path, ScanResult] | None = None,
    datasets: Sequence[DatasetConfig] | None = None,
    image_dirs: Sequence[Path] = (),
) -> SpecPlan:
    """Scan the folders of `spec` and plan its training.

    `flags` are its effective flags; `transformer` is the base model's file, from whose widths the size of the LoRA
    follows (FLUX.1's where it is not here). A folder in `scanned` is taken as it was found then. With `datasets`, of a
    dataset.toml edited by hand, these are planned: `image_dirs` are the folders that the spec's are staged in.

    Raises:
        FluxgymError: a folder cannot be listed.
    """
    dataset = spec.dataset
    settings, mended = bucket_settings(
        dataset.resolution,
        enable_bucket=dataset.enable_bucket,
        min_bucket_reso=dataset.min_bucket_reso,
        max_bucket_reso=dataset.max_bucket_reso,
        bucket_reso_steps=dataset.bucket_reso_steps,
        bucket_no_upscale=dataset.bucket_no_upscale,
    )
    sources = stage_sources(spec)
    known = scanned or {}
    keep_alpha = flags.get("alpha_mask") is True or any(
        subset.alpha_mask for one in datasets or () for subset in one.subsets
    )
    scans = tuple(known.get(source.folder) or scan(source.folder) for source in sources)
    found = [one for result in scans for one in result.problems if one.code not in _SAID_OF_ALL_FOLDERS]
    for source, result in zip(sources, scans, strict=True):
        found += staging_advice(
            result.images,
            trigger=None if source.is_reg else source.trigger,
            resize=dataset.resize,
            downscale_only=dataset.downscale_only,
            keep_alpha=keep_alpha,
        )
    split = _Split.of(flags, spec)
    images = [
        _plan_images(
            source,
            result.images,
            resize=dataset.resize,
            downscale_only=dataset.downscale_only,
            # The order decides which regularisation pictures come once more, and which pictures are held back.
            by_name=source.is_reg or bool(split.share) or datasets is not None,
        )
        for source, result in zip(sources, scans, strict=True)
    ]
    if datasets is None:
        found = [*mended, *found]
        subsets = tuple(
            PlanSubset(
                images=pictures if source.is_reg else split.trained(pictures),
                num_repeats=source.num_repeats,
                is_reg=source.is_reg,
            )
            for source, pictures in zip(sources, images, strict=True)
        )
        planned = [PlanDataset(settings=settings, batch_size=dataset.batch_size, subsets=subsets)]
    else:
        planned = _datasets_by_hand(datasets, dict(zip(image_dirs, images, strict=True)), found, split)
    plan = make_plan(
        planned,
        max_train_epochs=_whole(flags, "max_train_epochs"),
        max_train_steps=_whole(flags, "max_train_steps"),
        gradient_accumulation_steps=_whole(flags, "gradient_accumulation_steps") or 1,
        save_every_n_epochs=_whole(flags, "save_every_n_epochs"),
        save_every_n_steps=_whole(flags, "save_every_n_steps"),
        save_n_epoch_ratio=_whole(flags, "save_n_epoch_ratio"),
        sample_every_n_steps=_whole(flags, "sample_every_n_steps"),
        sample_every_n_epochs=_whole(flags, "sample_every_n_epochs"),
        sample_at_first=flags.get("sample_at_first") is True,
        prompts=spec.samples.prompts,
        lora_bytes=lora_file_bytes(
            network_dim=spec.training.network_dim,
            shape=_shape(transformer),
            train_clip_l=spec.training.train_clip_l,
            value_bytes=_value_bytes(flags),
        ),
        findings=found,
    )
    plan = replace(plan, findings=tuple(_with_what_is_there(finding, sources, scans) for finding in plan.findings))
    return SpecPlan(sources=sources, scans=scans, settings=settings, plan=plan, keep_alpha=keep_alpha)


def _with_what_is_there(finding: Finding, sources: Sequence[StageSource], scans: Sequence[ScanResult]) -> Finding:
    """Where there is nothing to train: the finding, telling what was found in its place and why it will not do."""
    if finding.code != "no_pictures":
        return finding
    rejected = [one for result in scans for one in result.rejected]
    named = ", ".join(f"{one.path.name}: {one.reason}" for one in rejected[:_NAMED_REJECTS])
    more = f" and {len(rejected) - _NAMED_REJECTS:,} more" if len(rejected) > _NAMED_REJECTS else ""
    return replace(
        finding,
        path=str(sources[0].folder),
        detail=f"not trained: {named}{more}" if rejected else finding.detail,
    )


def error_summary(errors: list[Finding]) -> list[str]:
    """The errors as the message of one exception: a line each, with what to do."""
    lines = []
    for finding in errors:
        where = f"{finding.path}: " if finding.path else ""
        lines.append(where + finding.title + (f" ({finding.detail})" if finding.detail else ""))
        if finding.fix:
            lines.append(f"  {finding.fix}")
    return lines


def _plan_images(
    source: StageSource, images: Sequence[ScannedImage], *, resize: int, downscale_only: bool, by_name: bool
) -> tuple[PlanImage, ...]:
    """The pictures as they will be staged; with `by_name` in the order of their staged names, as trainers list them."""
    ordered = list(images)
    if by_name:
        stems = staged_stems([image.path for image in images], root=source.folder)
        # With the dot names are in the order of whole file names: `a-b.png` comes before `a.png`.
        ordered = [image for _, image in sorted(zip(stems, images, strict=True), key=lambda pair: f"{pair[0]}.")]
    return tuple(
        PlanImage(str(image.path), *staged_size(image, resize=resize, downscale_only=downscale_only))
        for image in ordered
    )


def _datasets_by_hand(
    datasets: Sequence[DatasetConfig],
    staged: Mapping[Path, tuple[PlanImage, ...]],
    findings: list[Finding],
    split: "_Split",
) -> list[PlanDataset]:
    """The datasets of an edited dataset.toml: ours as they will be staged, others as sd-scripts lists them."""
    planned = []
    for dataset in datasets:
        findings += dataset.findings
        own = split.or_of(dataset)
        subsets = []
        for subset in dataset.subsets:
            listed = staged.get(subset.image_dir)
            pictures = tuple(kohya_pictures(subset.image_dir, findings)) if listed is None else listed
            trained = pictures if subset.is_reg else own.trained(pictures)
            subsets.append(PlanSubset(images=trained, num_repeats=subset.num_repeats, is_reg=subset.is_reg))
        settings = toml_settings(dataset)
        planned.append(PlanDataset(settings=settings, batch_size=dataset.batch_size, subsets=tuple(subsets)))
    return planned


@dataclass(frozen=True, slots=True)
class _Split:
    """Which pictures are held back for validation: this share of them, drawn by `seed`."""

    share: float
    seed: int | None

    @classmethod
    def of(cls, flags: Mapping[str, FlagValue], spec: TrainSpec) -> "_Split":
        """What the flags say. Without a seed of its own the built-in trainer takes the run's; sd-scripts any."""
        share, seed = flags.get("validation_split"), _whole(flags, "validation_seed")
        if seed is None and spec.backend == "builtin":
            seed = _whole(flags, "seed")
        return cls(float(share) if isinstance(share, (int, float)) else 0.0, seed)

    def or_of(self, dataset: DatasetConfig) -> "_Split":
        """What `dataset` says itself, else this."""
        seed = self.seed if dataset.validation_seed is None else dataset.validation_seed
        return _Split(dataset.validation_split or self.share, seed)

    def trained(self, images: tuple[PlanImage, ...]) -> tuple[PlanImage, ...]:
        """Those of `images` that are trained."""
        return tuple(training_part(images, split=self.share, seed=self.seed)) if self.share else images


def _value_bytes(flags: Mapping[str, FlagValue]) -> int:
    """Bytes of one number of the saved LoRA: it is saved in `save_precision`, else in the precision of training."""
    precision = flags.get("save_precision") or flags.get("mixed_precision")
    return 2 if precision in ("bf16", "fp16") else 4


def _whole(flags: Mapping[str, FlagValue], name: str) -> int | None:
    value = flags.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shape(transformer: Path | None) -> FluxShape:
    """The widths of the checkpoint at `transformer` from its header; FLUX.1's where there is none."""
    if transformer is None or not transformer.is_file():
        return FluxShape()
    names = read_header(transformer).tensors
    blocks = {kind: {name.split(f"{kind}_blocks.")[1].split(".")[0] for name in names if f"{kind}_blocks." in name}
              for kind in ("double", "single")}  # fmt: skip
    hidden = next((info.shape[0] for name, info in names.items() if name.endswith("img_in.weight")), None)
    if hidden is None:
        return FluxShape()
    return FluxShape(double_blocks=len(blocks["double"]), single_blocks=len(blocks["single"]), hidden=hidden)
