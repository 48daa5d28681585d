"""Settings of other programs as specs: fluxgym and its fork with buckets, the kohya_ss GUI, sd-scripts' own files."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding
from fluxgym_tui.config.importers.draft import Draft
from fluxgym_tui.config.importers.fluxgym import is_fluxgym, read_fluxgym
from fluxgym_tui.config.importers.kohya_gui import is_kohya_gui, read_kohya_gui
from fluxgym_tui.config.importers.sd_toml import read_sd_toml
from fluxgym_tui.config.importers.train_script import read_train_script
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.workspace import find_workspace

__all__ = ["PROGRAMS", "Imported", "import_spec"]

PROGRAMS = {
    "fluxgym": "fluxgym's settings",
    "kohya-gui": "settings of the kohya_ss GUI",
    "sd-scripts": "a config file of sd-scripts",
    "train.sh": "the command of a fluxgym run",
}

_KINDS = (
    "fluxgym's configs/*.json and training_config.json, the kohya_ss GUI's JSON, sd-scripts' config file (.toml), "
    "and train.sh of a fluxgym run"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A spec made of another program's settings.

    `kind` names that program: `fluxgym`, `kohya-gui`, `sd-scripts` or `train.sh`. `notes` are what comes out otherwise
    (warnings) or is said in another way (advice); nothing is left out without one.
    """

    spec: TrainSpec
    notes: tuple[Finding, ...]
    kind: str


def import_spec(path: Path, *, workspace: Path | None = None, dataset: Path | None = None) -> Imported:
    """The spec that means what the file at `path` meant to its own program. A folder of a fluxgym run is its train.sh.

    `workspace` is where base models and fluxgym's datasets are looked for (default: the one that the file lies in,
    else the one of the current folder). `dataset` is the folder of pictures, in place of what the file says.

    Raises:
        FluxgymError: the file cannot be read, is of no known kind, or a value in it makes no sense.
    """
    path = _file(Path(path))
    root = workspace or _home_of(path)
    draft = Draft(path, workspace=root)
    try:
        kind = _read(path, draft, root=root)
        if dataset is not None:
            draft.dataset["path"] = Path(dataset).absolute()
        spec = draft.spec()
    except ValueError as error:
        raise FluxgymError(f"{path}: {error}", hint="Mend it there, or in a copy of the file.") from error
    return Imported(spec=spec, notes=tuple(draft.notes), kind=kind)


def _file(path: Path) -> Path:
    """The settings at `path`: those of a folder are the command of the training that was made in it."""
    if not path.is_dir():
        return path
    if (own := path / "run" / "spec.yaml").is_file():
        raise FluxgymError(f"{path} is a run of fluxgym-tui, which has its spec", hint=f"It is {own}.")
    found = next((path / name for name in ("train.sh", "train.bat") if (path / name).is_file()), None)
    if found is None:
        raise FluxgymError(
            f"{path} is a folder without a train.sh",
            hint="Of a fluxgym folder give one of configs/*.json, or the folder of a training: outputs/NAME.",
        )
    return found


def _read(path: Path, draft: Draft, *, root: Path) -> str:
    text = _text(path)
    if path.suffix.lower() == ".toml":
        read_sd_toml(_parsed(path, text, tomllib.loads, "TOML"), draft)
        return "sd-scripts"
    if path.suffix.lower() in (".sh", ".bat"):
        read_train_script(text, draft)
        return "train.sh"
    data = _parsed(path, text, json.loads, "JSON")
    if isinstance(data, dict) and is_fluxgym(data):
        read_fluxgym(data, draft, root=root)
        return "fluxgym"
    if isinstance(data, dict) and is_kohya_gui(data):
        read_kohya_gui(data, draft)
        return "kohya-gui"
    raise FluxgymError(f"{path} holds no settings that are known here", hint=f"Known are {_KINDS}.")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FluxgymError(f"cannot read {path}: {error.strerror}", hint="Check the path.") from error
    except UnicodeDecodeError as error:
        raise FluxgymError(f"{path} is not UTF-8 text", hint=f"Known are {_KINDS}.") from error


def _parsed(path: Path, text: str, parse: Callable[[str], Any], form: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise FluxgymError(f"{path} is no {form}: {error}", hint=f"Known are {_KINDS}.") from error


def _home_of(path: Path) -> Path:
    """The workspace that the file lies in; where it lies in none, that of the current folder."""
    return find_workspace(path.absolute().parent, env={}).root if _lies_in_one(path) else find_workspace().root


def _lies_in_one(path: Path) -> bool:
    return any((folder / "models").is_dir() and (folder / "outputs").is_dir() for folder in path.absolute().parents)
