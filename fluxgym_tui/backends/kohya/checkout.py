"""Finds sd-scripts on this machine: the checkout, the Python that runs it and its commit."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json
from fluxgym_tui.config.resources import bundled

PINNED_COMMIT = "48d368fa557731ad0488c07304dfeba8c07910eb"
REPOSITORY = "https://github.com/kohya-ss/sd-scripts"
SCRIPT = "flux_train_network.py"
VARIABLE = "FLUXGYM_SD_SCRIPTS"
RECORD = "sd-scripts.json"  # in a workspace: the checkout and interpreter that `setup kohya` was told to use
SETUP = "fluxgym-tui setup kohya"
_HINT = f"`{SETUP}` fetches the tested commit ({PINNED_COMMIT[:8]}) and installs it. Or use backend: builtin."
# Environments are looked for in the checkout, then beside it: there fluxgym's stands, in a folder that is itself one.
_OWN = (".venv", "venv")
_BESIDE = ("env", "venv")
# Of sd-scripts' requirements those that it imports before it looks at its options.
NEEDED_MODULES = (
    "torch",
    "torchvision",
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
    """sd-scripts in the folder `root`, run by `interpreter`, or by the one that is found for it."""

    root: Path
    interpreter: Path | None = None

    @property
    def script(self) -> Path:
        """The program that trains FLUX LoRAs."""
        return self.root / SCRIPT

    @property
    def python(self) -> Path:
        """The Python it runs in: the one it was told, that of an environment of its own, else ours."""
        return self.interpreter or self.own_python or Path(sys.executable)

    @property
    def own_python(self) -> Path | None:
        """The Python of an environment made for it: in the checkout, or beside it as in a fluxgym folder."""
        folders = [self.root / name for name in _OWN]
        folders += [self.root.parent / name for name in _BESIDE if (self.root.parent / name / "pyvenv.cfg").is_file()]
        return next((python for folder in folders if (python := folder / "bin" / "python").exists()), None)

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
    """The checkout at `given` (from `--sd-scripts`), else `$FLUXGYM_SD_SCRIPTS`, else what the workspace's
    `sd-scripts.json` names, else its `sd-scripts/`, else the one beside the program; None where there is none.

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
    if workspace is not None and (recorded := _recorded(Path(workspace).absolute() / RECORD)) is not None:
        return recorded
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
        return f"sd-scripts is not here. {_HINT}"
    missing = ["accelerate"] if checkout.accelerate is None else []
    if not missing and checkout.python == Path(sys.executable):
        missing = [module for module in NEEDED_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        return (
            f"sd-scripts needs {', '.join(missing)}, not installed for {checkout.python}. "
            f"`{SETUP}` makes it an environment of its own"
        )
    return None


def _recorded(path: Path) -> Checkout | None:
    """The checkout that `setup kohya` wrote down; None where it wrote nothing."""
    try:
        data = read_json(path)
        root, python = Path(data["root"]), data["python"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FluxgymError(f"{path} cannot be read: {error}", hint=f"Delete it, or run `{SETUP}` again.") from error
    checkout = Checkout(root, None if python is None else Path(python))
    if not checkout.script.is_file() or not checkout.python.exists():
        gone = root if not checkout.script.is_file() else checkout.python
        raise FluxgymError(
            f"{path} names {gone}, which is not there any more",
            hint=f"Delete it, or run `{SETUP}` again with --path or --python.",
            code=ExitCode.NOT_FOUND,
        )
    return checkout


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
