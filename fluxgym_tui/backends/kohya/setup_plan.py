"""What `setup kohya` has to do: the commands that fetch sd-scripts and make it an environment, step by step."""

import hashlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.backends.kohya.checkout import NEEDED_MODULES, PINNED_COMMIT, REPOSITORY, Checkout
from fluxgym_tui.backends.kohya.torch_builds import TORCH_INDEX, TorchBuild
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_json

_CHECK_PYTHON = Path(__file__).with_name("check_python.py")
_ASK_PARSER = Path(__file__).with_name("ask_parser.py")
_STAMP = "fluxgym-setup.json"  # in an environment: the commands of each step that is done
_PYTHONS = ((3, 10), (3, 12))  # what sd-scripts' requirements have packages for

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: `title` for people, `commands` in their order, run in `cwd`; `done` where it was done before."""

    name: str
    title: str
    commands: tuple[Command, ...]
    cwd: Path
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """The steps that make the checkout `root` trainable in the environment `folder`.

    The environment is built under a name of its own, where it stays: programs in it know their place. The last step
    makes it the checkout's `.venv`, so that what was there before is used until the new one has proved itself.
    """

    root: Path
    folder: Path
    build: TorchBuild
    steps: tuple[Step, ...]

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "bin" / "python"


def setup_plan(
    root: Path,
    *,
    build: TorchBuild,
    python: Path,
    superproject: Path | None = None,
    torch_index: str = TORCH_INDEX,
    origin: str = REPOSITORY,
    commit: str = PINNED_COMMIT,
) -> SetupPlan:
    """The plan for sd-scripts at `root`, cloned from `origin` at `commit` where it is not there yet.

    `superproject` is a checkout of ours whose submodule `root` is. `python` makes the environment; PyTorch comes from
    `torch_index`.
    """
    fetched = Checkout(root).script.is_file()
    key = (Checkout(root).commit() or hashlib.sha256(_requirements(root)).hexdigest()) if fetched else commit
    folder = root / f".venv-{build.name}-{key[:8]}"
    stamps = read_stamps(folder)
    own = str(folder / "bin" / "python")
    index = f"{torch_index}/{build.name}"
    makes = (
        ("environment", "making its Python environment", ((str(python), "-m", "venv", "--clear", str(folder)),)),
        (
            "torch",
            f"installing PyTorch {build.torch} ({build.name})",
            ((own, "-m", "pip", "install", *build.packages, "--index-url", index),),
        ),
        (
            "requirements",
            "installing its requirements",
            # PyTorch is named once more, so that no requirement puts another in its place.
            ((own, "-m", "pip", "install", "-r", "requirements.txt", *build.packages, "--extra-index-url", index),),
        ),
    )
    steps = [] if fetched else [_fetch(root, superproject=superproject, origin=origin, commit=commit)]
    done = fetched
    for name, title, commands in makes:
        done = done and stamps.get(name) == [list(command) for command in commands]
        steps.append(Step(name=name, title=title, commands=commands, cwd=root, done=done))
    steps.append(
        Step(
            name="check",
            title="importing it, and printing its parser's options",
            commands=check_commands(Path(own), root),
            cwd=root,
        )
    )
    steps.append(
        Step(name="use", title="making it the environment that is used", commands=_use(root, folder), cwd=root)
    )
    return SetupPlan(root=root, folder=folder, build=build, steps=tuple(steps))


def import_command(python: Path, modules: Sequence[str]) -> Command:
    """The command that imports `modules` in `python` and prints as JSON what came of it."""
    return str(python), str(_CHECK_PYTHON), *modules


def parser_command(python: Path, root: Path) -> Command:
    """The command that prints the options of sd-scripts at `root` as JSON."""
    return str(python), str(_ASK_PARSER), str(root)


def check_commands(python: Path, root: Path) -> tuple[Command, Command]:
    """The commands that show whether `python` runs sd-scripts at `root`."""
    return import_command(python, NEEDED_MODULES), parser_command(python, root)


def read_stamps(folder: Path) -> dict[str, Any]:
    """The steps that were done in the environment `folder`, with their commands."""
    try:
        stamps = read_json(folder / _STAMP)
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) and (folder / "bin" / "python").exists() else {}


def write_stamp(plan: SetupPlan, step: Step) -> None:
    """Note in the environment that `step` is done. OSError."""
    stamps = {} if step.name == "environment" else read_stamps(plan.folder)
    write_json(plan.folder / _STAMP, {**stamps, step.name: [list(command) for command in step.commands]})


def forget_stamps(folder: Path) -> None:
    """Have the environment `folder` made from its beginning the next time. OSError."""
    (folder / _STAMP).unlink(missing_ok=True)


def base_python() -> Path:
    """An interpreter to make the environment with: ours where it fits, else one on the PATH.

    Raises:
        FluxgymError: there is none of a version that sd-scripts' requirements have packages for.
    """
    first, last = _PYTHONS
    if first <= sys.version_info[:2] <= last:
        return Path(sys.executable)
    for minor in range(last[1], first[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return Path(found)
    raise FluxgymError(
        f"sd-scripts needs Python 3.{first[1]} to 3.{last[1]}, and there is none here",
        hint="Install one (apt install python3.12-venv, or uv python install 3.12), or name an interpreter that has "
        "its requirements: --python FILE.",
        code=ExitCode.MISSING_EXTRA,
    )


def _fetch(root: Path, *, superproject: Path | None, origin: str, commit: str) -> Step:
    title = f"fetching sd-scripts at {commit[:8]}"
    if superproject is not None:
        update = ("git", "-C", str(superproject), "submodule", "update", "--init", "--depth", "1", str(root))
        return Step(name="fetch", title=title, commands=(update,), cwd=superproject)
    part = root.with_name(f"{root.name}.partial")
    git = ("git", "-C", str(part))
    return Step(
        name="fetch",
        title=title,
        commands=(
            ("mkdir", "-p", str(root.parent)),
            ("git", "init", "--quiet", str(part)),
            (*git, "config", "remote.origin.url", origin),
            (*git, "fetch", "--depth", "1", "origin", commit),
            (*git, "checkout", "--quiet", "--force", "--detach", commit),
            ("mv", "-T", str(part), str(root)),
        ),
        cwd=Path("/"),
    )


def _use(root: Path, folder: Path) -> tuple[Command, ...]:
    """The link of the name `.venv` changes in one rename; a folder of that name is kept under another."""
    link, following = root / ".venv", root / ".venv-next"
    commands: list[Command] = [("ln", "-sfn", folder.name, str(following))]
    if link.is_dir() and not link.is_symlink():
        commands.append(("mv", "-T", str(link), str(_free(root / ".venv-before"))))
    return (*commands, ("mv", "-T", str(following), str(link)))


def _free(path: Path) -> Path:
    number = 2
    found = path
    while found.exists():
        found = path.with_name(f"{path.name}-{number}")
        number += 1
    return found


def _requirements(root: Path) -> bytes:
    try:
        return (root / "requirements.txt").read_bytes()
    except OSError:
        return b""
