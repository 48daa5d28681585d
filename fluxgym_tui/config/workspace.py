"""The workspace: the folder that holds models/, datasets/, outputs/ and configs/, and how it is found."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError

MARKER = "fluxgym.yaml"  # a file of this name makes any folder a workspace
_RENTAL_VOLUME = Path("/workspace")  # where RunPod and its kin mount what lasts


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace at `root`. Its folders are made when they are first asked for."""

    root: Path

    @property
    def models(self) -> Path:
        """Base models, laid out as fluxgym has them: unet/, clip/, vae/."""
        return self._folder("models")

    @property
    def datasets(self) -> Path:
        """Staged pictures, one folder for each output name."""
        return self._folder("datasets")

    @property
    def outputs(self) -> Path:
        """Runs, one folder for each output name."""
        return self._folder("outputs")

    @property
    def configs(self) -> Path:
        """Saved specs, NAME.yaml."""
        return self._folder("configs")

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FluxgymError(
                f"cannot make {folder}: {error.strerror}",
                hint="Choose a workspace that you may write to: set FLUXGYM_HOME, or give --workspace DIR.",
            ) from error
        return folder


def find_workspace(cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Workspace:
    """The workspace for a command started in `cwd` (default: the current folder) with `env` (default: os.environ).

    In this order: `$FLUXGYM_HOME`; `cwd` or the nearest parent that has `fluxgym.yaml` or both `models/` and
    `outputs/`; `$WORKSPACE`; a writable `/workspace`; `~/fluxgym`. Nothing is created yet.
    """
    here = Path.cwd() if cwd is None else Path(cwd).absolute()
    variables = os.environ if env is None else env
    if home := variables.get("FLUXGYM_HOME"):
        return Workspace(_absolute(home, here, variables))
    for folder in (here, *here.parents):
        if looks_like_workspace(folder):
            return Workspace(folder)
    if named := variables.get("WORKSPACE"):
        return Workspace(_absolute(named, here, variables))
    if _RENTAL_VOLUME.is_dir() and os.access(_RENTAL_VOLUME, os.W_OK):
        return Workspace(_RENTAL_VOLUME)
    return Workspace(_absolute("~/fluxgym", here, variables))


def looks_like_workspace(folder: Path) -> bool:
    """Whether `folder` is a workspace by what it holds; a fluxgym folder is one."""
    return (folder / MARKER).is_file() or ((folder / "models").is_dir() and (folder / "outputs").is_dir())


def _absolute(text: str, here: Path, variables: Mapping[str, str]) -> Path:
    """`text` as an absolute path: `~` from `$HOME` in `variables`, a relative one from `here`."""
    if text == "~" or text.startswith("~/"):
        home = variables.get("HOME") or str(Path.home())
        text = home + text[1:]
    return here / text
