"""The pictures of an imported training, from kohya's dataset.toml or its folders named `10_hrld man`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.config.dataset_toml import DatasetConfig, SubsetConfig, load_dataset_toml
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue

_BUCKET_KEYS = ("enable_bucket", "bucket_no_upscale", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps")
# What a spec's own dataset says, or what staging settles: captions are trained as they are, from .txt.
_SAID = {"image_dir", "num_repeats", "class_tokens", "is_reg", "caption_extension", "keep_tokens"}
_SAID_OF_DATASETS = {"resolution", "batch_size", "subsets", "findings", *_BUCKET_KEYS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What a spec says of the pictures: its `trigger`, its group `dataset`, and options that hold for all of them."""

    trigger: str | None = None
    dataset: Mapping[str, object]
    flags: Mapping[str, FlagValue]
    findings: tuple[Finding, ...] = ()


def pictures_of_toml(path: Path, *, options: Mapping[str, FlagValue]) -> Pictures:
    """The pictures of the dataset.toml at `path`; `options`, those of the command line, fill what the file lacks.

    Raises:
        FluxgymError: the file cannot be read, or is none that sd-scripts takes.
    """
    datasets = load_dataset_toml(path, fallback=options)
    findings = [finding for dataset in datasets for finding in dataset.findings]
    filled = [dataset for dataset in datasets if any(not subset.is_reg for subset in dataset.subsets)]
    if not filled:
        findings.append(_warning("no_pictures", f"{path} names no folder of pictures", "Set dataset.path."))
        return Pictures(dataset={}, flags={}, findings=tuple(findings))
    if len(filled) > 1:
        sizes = ", ".join(f"{width}x{height}" for width, height in (dataset.resolution for dataset in filled[1:]))
        findings.append(
            _warning(
                "more_datasets",
                f"{path} has {len(filled)} datasets and a spec one: that of {sizes} is left out",
                "Make a spec of each, or train the file as it is by sd-scripts.",
            )
        )
    flags, left_out = _further_settings(filled[0], options)
    trigger, dataset = _dataset(filled[0], folder=path.parent)
    return Pictures(trigger=trigger, dataset=dataset, flags=flags, findings=(*findings, *left_out))


def pictures_of_folders(train: Path, regular: Path | None, *, resolution: tuple[int, int]) -> Pictures:
    """The pictures in folders as sd-scripts reads them: `N_WORDS` in `train` is trained N times, with WORDS as trigger.

    `regular` is the folder of regularisation pictures, made likewise.
    """
    subsets = _named_folders(train, is_reg=False)
    findings: tuple[Finding, ...] = ()
    if not subsets:
        subsets = [SubsetConfig(image_dir=train, num_repeats=10)]
        findings = (
            _warning(
                "no_repeats_in_names",
                f"{train} holds no folder named as 10_words: it is taken itself, with 10 repeats",
                "Set dataset.path, dataset.num_repeats and trigger.",
            ),
        )
    if regular is not None:
        subsets += _named_folders(regular, is_reg=True)
    trigger, dataset = _dataset(DatasetConfig(resolution=resolution, subsets=tuple(subsets)), folder=train)
    said = {key: value for key, value in dataset.items() if key not in (*_BUCKET_KEYS, "batch_size")}
    return Pictures(trigger=trigger, dataset=said, flags={}, findings=findings)


def _named_folders(folder: Path, *, is_reg: bool) -> list[SubsetConfig]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    found = []
    for entry in entries:
        repeats, _, words = entry.name.partition("_")
        if entry.is_dir() and repeats.isdecimal() and int(repeats) > 0:
            found.append(
                SubsetConfig(image_dir=entry, num_repeats=int(repeats), class_tokens=words or None, is_reg=is_reg)
            )
    return found


def _dataset(dataset: DatasetConfig, *, folder: Path) -> tuple[str | None, dict[str, object]]:
    """The spec's `trigger` and `dataset`; the first folder that is trained comes first, as a spec has it."""
    first, *others = sorted(dataset.subsets, key=lambda subset: subset.is_reg)
    data: dict[str, object] = {
        "path": _absolute(first.image_dir, folder),
        "resolution": list(dataset.resolution),
        "num_repeats": first.num_repeats,
        "batch_size": dataset.batch_size,
        **{key: getattr(dataset, key) for key in _BUCKET_KEYS},
    }
    if others:
        data["subsets"] = [_subset(subset, folder) for subset in others]
    return first.class_tokens, data


def _subset(subset: SubsetConfig, folder: Path) -> dict[str, object]:
    data: dict[str, object] = {"path": _absolute(subset.image_dir, folder), "num_repeats": subset.num_repeats}
    if subset.class_tokens:
        data["trigger"] = subset.class_tokens
    if subset.is_reg:
        data["is_reg"] = True
    return data


def _absolute(path: Path, folder: Path) -> Path:
    """`path` from `folder`, for sd-scripts goes by the folder it was started in, and nobody noted that."""
    path = path.expanduser()
    return path if path.is_absolute() else (folder / path).absolute()


def _further_settings(
    dataset: DatasetConfig, options: Mapping[str, FlagValue]
) -> tuple[dict[str, FlagValue], list[Finding]]:
    """What the file says beside a spec's own keys: as options where it holds for all, else findings."""
    flags: dict[str, FlagValue] = {}
    findings = []
    said = _unusual(dataset, DatasetConfig(resolution=(0, 0)), _SAID_OF_DATASETS)
    plain = SubsetConfig(image_dir=Path())
    unusual = [_unusual(subset, plain, _SAID) for subset in dataset.subsets]
    said |= {
        name: value for name, value in unusual[0].items() if all(other.get(name) == value for other in unusual[1:])
    }
    for name, value in said.items():
        if name in FLAG_KINDS and name != "shuffle_caption":
            flags[name] = ",".join(map(str, value)) if isinstance(value, tuple) else value
        else:
            findings.append(_left_out(name, value))
    for subset, values in zip(dataset.subsets, unusual, strict=True):
        findings += [_left_out(name, value, subset.image_dir) for name, value in values.items() if name not in said]
        if subset.caption_extension != ".txt":
            findings.append(
                _warning(
                    "caption_extension",
                    f"{subset.image_dir}: captions are read from .txt here, not from {subset.caption_extension}",
                    "Rename the caption files, or copy them under the other name.",
                )
            )
    return {name: value for name, value in flags.items() if options.get(name) != value}, findings


def _unusual(config: Any, plain: Any, said: set[str]) -> dict[str, Any]:
    """The settings of `config` outside `said` that are not as in `plain`."""
    return {
        entry.name: getattr(config, entry.name)
        for entry in fields(config)
        if entry.name not in said and getattr(config, entry.name) != getattr(plain, entry.name)
    }


def _left_out(name: str, value: object, folder: Path | None = None) -> Finding:
    where = f"{folder}: " if folder else ""
    why = "captions are trained as they are" if name == "shuffle_caption" else "a spec has no place for it"
    return _warning("left_out", f"{where}{name} = {value} is left out: {why}", "Train it with sd-scripts to keep it.")


def _warning(code: str, title: str, fix: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, title=title, fix=fix)
