"""Finds sd-scripts on this machine: the checkout, the Python that runs it and its commit."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.config.resources import bundled

PINNED_COMMIT = "48d368fa557731ad0488c07304dfeba8c07910eb"
REPOSITORY = "https://github.com/kohya-ss/sd-scripts"
SCRIPT = "flux_train_network.py"
VARIABLE = "FLUXGYM_SD_SCRIPTS"
_HINT = (
    f"Clone it and check out the tested commit: git clone {REPOSITORY} && git -C sd-scripts checkout "
    f"{PINNED_COMMIT[:8]}; then install its requirements. Or use backend: builtin."
)
# Of sd-scripts' requirements those that it imports before it looks at its options.
_NEEDED_MODULES = (
    "torch",
    "accelerate",
    "transformers",
    "diffusers",
    "voluptuous",
    "toml",
    "imagesize",
    "cv2",
    "einops",
)


@dataclass(frozen=True, slots=True)
class Checkout:
    """sd-scripts in the folder `root`."""

    root: Path

    @property
    def script(self) -> Path:
        """The program that trains FLUX LoRAs."""
        return self.root / SCRIPT

    @property
    def python(self) -> Path:
        """The Python it runs in: that of an environment of its own, else ours."""
        for name in (".venv", "venv"):
            own = self.root / name / "bin" / "python"
            if own.exists():
                return own
        return Path(sys.executable)

    @property
    def accelerate(self) -> Path | None:
        """accelerate's command, beside that Python or on the PATH; None where it is not installed."""
        beside = self.python.parent / "accelerate"
        if beside.exists():
            return beside
        found = shutil.which("accelerate")
        return Path(found) if found else None

    def commit(self) -> str | None:
        """The commit that is checked out, by git's own files; None where there are none."""
        git = self.root / ".git"
        try:
            if git.is_file():  # a submodule or worktree: the file names the folder
                git = self.root / git.read_text(encoding="utf-8").removeprefix("gitdir: ").strip()
            head = (git / "HEAD").read_text(encoding="utf-8").strip()
            if not head.startswith("ref: "):
                return head or None
            return _resolved(git, head.removeprefix("ref: "))
        except OSError:
            return None


def _resolved(git: Path, ref: str) -> str | None:
    if (git / ref).is_file():
        return (git / ref).read_text(encoding="utf-8").strip()
    for line in (git / "packed-refs").read_text(encoding="utf-8").splitlines():
        if line.endswith(f" {ref}"):
            return line.split()[0]
    return None


def find_checkout(
    *, given: Path | None = None, workspace: Path | None = None, env: Mapping[str, str] | None = None
) -> Checkout | None:
    """The checkout at `given` (from `--sd-scripts`), else `$FLUXGYM_SD_SCRIPTS`, else `sd-scripts/` of the workspace,
    else the one beside the program; None where there is none.

    Raises:
        FluxgymError: one was named, and it is none.
    """
    variables = os.environ if env is None else env
    for name, path in (("--sd-scripts", given), (VARIABLE, _path(variables.get(VARIABLE)))):
        if path is not None:
            checkout = Checkout(path.expanduser().absolute())
            if not checkout.script.is_file():
                raise FluxgymError(
                    f"{path} ({name}) is no checkout of sd-scripts: it has no {SCRIPT}",
                    hint=_HINT,
                    code=ExitCode.NOT_FOUND,
                )
            return checkout
    places = [] if workspace is None else [Path(workspace).absolute()]
    for place in (*places, bundled("models.yaml").parent):
        checkout = Checkout(place / "sd-scripts")
        if checkout.script.is_file():
            return checkout
    return None


def expected_checkout() -> Checkout:
    """Where the program's own checkout belongs, be it there or not."""
    return Checkout(bundled("models.yaml").parent / "sd-scripts")


def missing_reason(checkout: Checkout | None) -> str | None:
    """Why `checkout` cannot train, with what mends it; None where it can."""
    if checkout is None:
        submodule = (bundled("models.yaml").parent / "sd-scripts").is_dir()
        mend = "git submodule update --init sd-scripts fetches it" if submodule else _HINT
        return f"sd-scripts is not here. {mend}"
    missing = ["accelerate"] if checkout.accelerate is None else []
    if not missing and checkout.python == Path(sys.executable):
        missing = [module for module in _NEEDED_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        return (
            f"sd-scripts needs {', '.join(missing)}, not installed for {checkout.python}. "
            f"In {checkout.root}: {checkout.python} -m pip install -r requirements.txt"
        )
    return None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
