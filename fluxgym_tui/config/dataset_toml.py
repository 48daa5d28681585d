"""kohya's dataset.toml: read by kohya's own rules, written as fluxgym writes it."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetConfig:
    """One folder of pictures; names and defaults are sd-scripts'."""

    image_dir: Path
    num_repeats: int = 1
    class_tokens: str | None = None
    is_reg: bool = False
    caption_extension: str = ".caption"
    keep_tokens: int = 0
    shuffle_caption: bool = False
    flip_aug: bool = False
    color_aug: bool = False
    random_crop: bool = False
    caption_prefix: str | None = None
    caption_suffix: str | None = None
    caption_separator: str = ","
    keep_tokens_separator: str = ""
    secondary_separator: str | None = None
    enable_wildcard: bool = False
    caption_dropout_rate: float = 0.0
    caption_dropout_every_n_epochs: int = 0
    caption_tag_dropout_rate: float = 0.0
    token_warmup_min: int = 1
    token_warmup_step: float = 0.0
    face_crop_aug_range: tuple[float, float] | None = None
    alpha_mask: bool = False
    conditioning_data_dir: Path | None = None
    cache_info: bool = False
    custom_attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetConfig:
    """One dataset: pictures that share resolution and batch size. `resolution` is width, height."""

    resolution: tuple[int, int]
    batch_size: int = 1
    enable_bucket: bool = False
    min_bucket_reso: int = 256
    max_bucket_reso: int = 1024
    bucket_reso_steps: int = 64
    bucket_no_upscale: bool = False
    network_multiplier: float = 1.0
    validation_split: float = 0.0
    validation_seed: int | None = None
    resize_interpolation: str | None = None
    subsets: tuple[SubsetConfig, ...] = ()
    findings: tuple[Finding, ...] = ()  # what kohya's rules leave out without a word


_SUBSET_KINDS: dict[str, str] = {
    "color_aug": "bool", "face_crop_aug_range": "two floats", "flip_aug": "bool", "num_repeats": "int",
    "random_crop": "bool", "shuffle_caption": "bool", "keep_tokens": "int", "keep_tokens_separator": "str",
    "secondary_separator": "str", "caption_separator": "str", "enable_wildcard": "bool", "token_warmup_min": "int",
    "token_warmup_step": "number", "caption_prefix": "str", "caption_suffix": "str", "custom_attributes": "table",
    "resize_interpolation": "str", "caption_dropout_every_n_epochs": "int", "caption_dropout_rate": "number",
    "caption_tag_dropout_rate": "number", "caption_extension": "str", "class_tokens": "str", "cache_info": "bool",
}  # fmt: skip
_DATASET_KINDS: dict[str, str] = {
    "batch_size": "int", "bucket_no_upscale": "bool", "bucket_reso_steps": "int", "enable_bucket": "bool",
    "max_bucket_reso": "int", "min_bucket_reso": "int", "validation_seed": "int", "validation_split": "number",
    "resolution": "resolution", "network_multiplier": "float", "resize_interpolation": "str",
}  # fmt: skip
# Which keys each table may carry. What a subset lacks is taken from its dataset, then [general], then the command line.
_TABLES: dict[str, dict[str, str]] = {
    "general": {**_DATASET_KINDS, **_SUBSET_KINDS},
    "dataset": {**_DATASET_KINDS, **_SUBSET_KINDS},
    "subset": {
        **_SUBSET_KINDS,
        "image_dir": "str",
        "is_reg": "bool",
        "alpha_mask": "bool",
        "conditioning_data_dir": "str",
    },
}
_COMMAND_LINE_NAMES = {"train_batch_size": "batch_size", "dataset_repeats": "num_repeats"}
_OTHER_KINDS_OF_DATA = {"metadata_file": "fine-tuning"}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "bool": (lambda v: isinstance(v, bool), "true or false"),
    "int": (_is_int, "a whole number"),
    "float": (lambda v: isinstance(v, float), "a number with a point, as 1.0"),
    "number": (lambda v: _is_int(v) or isinstance(v, float), "a number"),
    "str": (lambda v: isinstance(v, str), "a text in quotes"),
    "table": (lambda v: isinstance(v, dict), "a table"),
    "two floats": (
        lambda v: isinstance(v, list) and len(v) == 2 and all(isinstance(x, float) for x in v),
        "two numbers with a point, as [2.0, 4.0]",
    ),
    "resolution": (
        lambda v: _is_int(v) or (isinstance(v, list) and len(v) == 2 and all(_is_int(x) for x in v)),
        "a whole number, or two as [768, 1024]",
    ),
}


def load_dataset_toml(path: Path, *, fallback: Mapping[str, object] | None = None) -> tuple[DatasetConfig, ...]:
    """The datasets of kohya's `dataset.toml` at `path`, as sd-scripts would understand it.

    `fallback` holds command-line settings by sd-scripts' names; they fill keys that the file lacks. A subset's key
    comes before its dataset's, that before `[general]`'s. A relative `image_dir` is relative to the working folder,
    as for sd-scripts. Subsets that sd-scripts drops (repeats under 1, a folder named twice in one dataset) are left
    out, and each dataset's `findings` say so.

    Raises:
        FluxgymError: the file is missing, no TOML, or has a key or type that sd-scripts refuses; with its place.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FluxgymError(
            f"cannot read {path}: {error.strerror}", hint="Check the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise FluxgymError(f"{path} is not UTF-8 text", hint="Save it as UTF-8: TOML allows nothing else.") from error
    return parse_dataset_toml(text, path=path, fallback=fallback)


def parse_dataset_toml(
    text: str, *, path: Path, fallback: Mapping[str, object] | None = None
) -> tuple[DatasetConfig, ...]:
    """`load_dataset_toml` for a text that is at hand; `path` names it in messages. FluxgymError as there."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FluxgymError(
            f"{path} is no TOML: {error}", hint="Mend the line that is named, then try again."
        ) from error
    return _Reader(path, dict(fallback or {})).datasets(data)


class _Reader:
    """Turns the parsed file into configs; keeps the place of what it looks at for messages."""

    def __init__(self, path: Path, fallback: dict[str, object]) -> None:
        self.path = path
        self.fallback = {_COMMAND_LINE_NAMES.get(name, name): value for name, value in fallback.items()}

    def datasets(self, data: dict[str, Any]) -> tuple[DatasetConfig, ...]:
        for name in data:
            if name not in ("general", "datasets"):
                raise self._unknown(name, name, ("general", "datasets"))
        general = data.get("general", {})
        self._check(general, "general", "general")
        datasets = data.get("datasets", [])
        if not isinstance(datasets, list):
            raise FluxgymError(f"{self.path}: datasets must be written as [[datasets]]", hint="Double the brackets.")
        return tuple(self._dataset(entry, general, f"datasets[{index}]") for index, entry in enumerate(datasets))

    def _dataset(self, entry: Any, general: dict[str, Any], place: str) -> DatasetConfig:
        own = {key: value for key, value in entry.items() if key != "subsets"} if isinstance(entry, dict) else entry
        self._check(own, "dataset", place)
        written = entry.get("subsets", [])
        if not isinstance(written, list):
            raise FluxgymError(f"{self.path}: {place}.subsets must be written as [[datasets.subsets]]")
        subsets: list[SubsetConfig] = []
        findings: list[Finding] = []
        for index, subset in enumerate(written):
            self._check(subset, "subset", f"{place}.subsets[{index}]")
            config = self._subset(subset, own, general, f"{place}.subsets[{index}]")
            if config.num_repeats < 1:
                findings.append(_left_out(config, "repeats_under_one", f"num_repeats is {config.num_repeats}"))
            elif any(config.image_dir == other.image_dir for other in subsets):
                findings.append(_left_out(config, "folder_twice", "this image_dir stands in the dataset before"))
            else:
                subsets.append(config)
        values = self._filled(DatasetConfig, own, general)
        resolution = _pair(values.pop("resolution", None))
        if resolution is None:
            raise FluxgymError(
                f"{self.path}: {place} has no resolution",
                hint="Write resolution = 512 (or [width, height]) in that dataset or in [general].",
            )
        return DatasetConfig(resolution=resolution, subsets=tuple(subsets), findings=tuple(findings), **values)

    def _subset(
        self, own: dict[str, Any], dataset: dict[str, Any], general: dict[str, Any], place: str
    ) -> SubsetConfig:
        if "image_dir" not in own:
            raise FluxgymError(f"{self.path}: {place} has no image_dir", hint="Write image_dir = 'FOLDER' in it.")
        values = self._filled(SubsetConfig, own, dataset, general)
        if (crop := values.get("face_crop_aug_range")) is not None and isinstance(crop, list):
            values["face_crop_aug_range"] = (crop[0], crop[1])
        for name in ("image_dir", "conditioning_data_dir"):
            if values.get(name) is not None:
                values[name] = Path(values[name])
        return SubsetConfig(**values)

    def _filled(self, config: type, *tables: Mapping[str, Any]) -> dict[str, Any]:
        """The first value that is there, for each field of `config`, in `tables` and then on the command line."""
        values: dict[str, Any] = {}
        for entry in fields(config):
            for table in (*tables, self.fallback):
                if table.get(entry.name) is not None and entry.name not in ("subsets", "findings"):
                    values[entry.name] = table[entry.name]
                    break
        return values

    def _check(self, table: Any, kind: str, place: str) -> None:
        if not isinstance(table, dict):
            raise FluxgymError(f"{self.path}: {place} must be a table", hint="See kohya's dataset config for the form.")
        known = _TABLES[kind]
        for key, value in table.items():
            if key in _OTHER_KINDS_OF_DATA:
                raise FluxgymError(
                    f"{self.path}: {place}.{key} makes this a {_OTHER_KINDS_OF_DATA[key]} dataset",
                    hint="Only datasets of pictures with captions (image_dir) train a LoRA here.",
                )
            if key not in known:
                raise self._unknown(f"{place}.{key}", key, known)
            check, wanted = _CHECKS[known[key]]
            if not check(value):
                raise FluxgymError(f"{self.path}: {place}.{key} must be {wanted}, not {value!r}")

    def _unknown(self, place: str, key: str, known: Iterable[str]) -> FluxgymError:
        near = get_close_matches(key, list(known), n=1)
        return FluxgymError(
            f"{self.path}: unknown key {place}",
            hint=f"Did you mean {near[0]}?" if near else f"Known keys here: {', '.join(sorted(known))}.",
        )


def _pair(value: object) -> tuple[int, int] | None:
    """A resolution as width and height: one number is a square; `"768,1024"` is how the command line has it."""
    if isinstance(value, str):
        numbers = [int(part) for part in value.split(",")]
        return (numbers[0], numbers[-1])
    if isinstance(value, (list, tuple)):
        return (value[0], value[1])
    return (value, value) if isinstance(value, int) else None


def _left_out(subset: SubsetConfig, code: str, why: str) -> Finding:
    return Finding(
        code=code,
        severity=Severity.WARNING,
        title=f"{subset.image_dir} is not trained: {why}",
        fix="Take the entry out of the dataset.toml, or mend it.",
        path=str(subset.image_dir),
    )


def dump_dataset_toml(datasets: Iterable[DatasetConfig]) -> str:
    """`datasets` as the text of a dataset.toml, in the form fluxgym writes.

    `[general]` carries what all subsets have in common by fluxgym's way (shuffle_caption, caption_extension,
    keep_tokens); a dataset writes its bucket keys where buckets are on; a subset writes what differs from sd-scripts'
    defaults. Reading it with `load_dataset_toml` gives equal configs.
    """
    written = tuple(datasets)
    first = next((subset for dataset in written for subset in dataset.subsets), None)
    shared = {
        "shuffle_caption": first.shuffle_caption if first else False,
        "caption_extension": first.caption_extension if first else ".txt",
        "keep_tokens": first.keep_tokens if first else 1,
    }
    blocks = ["\n".join(["[general]", *(f"{key} = {toml_value(value)}" for key, value in shared.items())])]
    for dataset in written:
        blocks.append("\n".join(["[[datasets]]", *_dataset_lines(dataset, shared["keep_tokens"])]))
        blocks.extend(
            "\n".join(f"  {line}" for line in ("[[datasets.subsets]]", *_subset_lines(subset, shared)))
            for subset in dataset.subsets
        )
    return "\n\n".join(blocks) + "\n"


_PLAIN_DATASET = DatasetConfig(resolution=(0, 0))
_PLAIN_SUBSET = SubsetConfig(image_dir=Path())


def _dataset_lines(dataset: DatasetConfig, keep_tokens: object) -> list[str]:
    width, height = dataset.resolution
    lines = [f"resolution = {width if width == height else [width, height]}", f"batch_size = {dataset.batch_size}"]
    lines.append(f"keep_tokens = {toml_value(keep_tokens)}")
    bucket_keys = ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale")
    if dataset.enable_bucket:
        lines += [f"{key} = {toml_value(getattr(dataset, key))}" for key in ("enable_bucket", *bucket_keys)]
    done = {"resolution", "batch_size", "subsets", "findings", "enable_bucket"}
    done |= set(bucket_keys) if dataset.enable_bucket else set()
    return lines + _differences(dataset, _PLAIN_DATASET, done)


def _subset_lines(subset: SubsetConfig, shared: Mapping[str, object]) -> list[str]:
    lines = [f"image_dir = {toml_value(str(subset.image_dir))}"]
    if subset.class_tokens is not None:
        lines.append(f"class_tokens = {toml_value(subset.class_tokens)}")
    lines.append(f"num_repeats = {subset.num_repeats}")
    lines += [f"{key} = {toml_value(getattr(subset, key))}" for key in shared if getattr(subset, key) != shared[key]]
    return lines + _differences(subset, _PLAIN_SUBSET, {"image_dir", "class_tokens", "num_repeats", *shared})


def _differences(config: Any, plain: Any, done: set[str]) -> list[str]:
    """A line for each field outside `done` whose value is not sd-scripts' default."""
    names = [entry.name for entry in fields(config) if entry.name not in done]
    return [
        f"{name} = {toml_value(getattr(config, name))}"
        for name in names
        if getattr(config, name) != getattr(plain, name)
    ]


def toml_value(value: object) -> str:
    """`value` in TOML; texts in single quotes, as fluxgym writes them, where TOML allows it.

    Raises:
        FluxgymError: a path has a name that is not UTF-8, which TOML cannot hold.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_key(str(key))} = {toml_value(item)}" for key, item in value.items()) + " }"
    text = str(value)
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise FluxgymError(
            f"the name {text.encode('utf-8', 'backslashreplace').decode()} is not UTF-8, and TOML can hold no other",
            hint="Rename that folder, or train from a folder whose path is UTF-8.",
        )
    if "'" not in text and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match.group()):04x}", escaped) + '"'


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)
