"""What both exports have in common: the files beside the settings, and what has no place in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.config.dataset_toml import DatasetConfig, dump_dataset_toml
from fluxgym_tui.config.models import ModelFiles
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.spec import AfterSpec, TrainSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A spec as sd-scripts would train it.

    `flags` are its effective flags with backend kohya; `dataset` is the user's own folders with the settings of the
    plan; `output_dir` is where the other program is to write.
    """

    spec: TrainSpec
    flags: Mapping[str, FlagValue]
    models: ModelFiles
    dataset: DatasetConfig
    output_dir: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The text of each file to write, the settings first, and the notes on what those cannot say."""

    files: Mapping[Path, str]
    notes: tuple[Finding, ...]


def beside(path: Path, ending: str) -> Path:
    """The file that belongs to the settings at `path`: `hrld.json` -> `hrld.dataset.toml`. Absolute."""
    return path.absolute().with_name(f"{path.stem}.{ending}")


def dataset_file(training: Training, path: Path) -> dict[Path, str]:
    """dataset.toml for the settings at `path`, with its text."""
    return {beside(path, "dataset.toml"): dump_dataset_toml([training.dataset])}


def own_settings(training: Training) -> dict[str, object]:
    """What sd-scripts has no option for, and `import` reads back."""
    dataset, own = training.spec.dataset, dict[str, object]()
    if dataset.resize:
        own |= {"resize": dataset.resize, "downscale_only": dataset.downscale_only}
    if training.spec.backend != "auto":
        own["backend"] = training.spec.backend
    return own


def notes_on(training: Training) -> list[Finding]:
    """What the other program will not do as this one does."""
    spec = training.spec
    notes = [
        advice(
            "unstaged",
            "sd-scripts reads the folders themselves: no pictures in folders below, no rotation by EXIF, only .txt",
            "Those of a run are in order: datasets/NAME of the workspace.",
        )
    ]
    if spec.dataset.resize:
        notes.append(warning("resize", f"resize: {spec.dataset.resize} is not done there: pictures train as they are"))
    if spec.backend == "builtin":
        notes.append(warning("backend", "backend: builtin is not sd-scripts: it is started with the recipe for kohya"))
    if spec.after != AfterSpec():
        notes.append(warning("after", "what is to be done after the run (after) is not carried over"))
    if spec.name != spec.output_name:
        notes.append(advice("name", f"the name is {spec.output_name} there, as files have it: {spec.name} is not kept"))
    return notes


def warning(code: str, title: str, fix: str | None = None) -> Finding:
    """Something that is not as in the spec."""
    return Finding(code=code, severity=Severity.WARNING, title=title, fix=fix)


def advice(code: str, title: str, fix: str | None = None) -> Finding:
    """Something that is good to know."""
    return Finding(code=code, severity=Severity.ADVICE, title=title, fix=fix)
