"""Carries out `setup kohya`: fetches sd-scripts, makes its environment, and sees it work before it is used."""

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.backends.kohya.checkout import NEEDED_MODULES, RECORD, Checkout
from fluxgym_tui.backends.kohya.options import cache_folder
from fluxgym_tui.backends.kohya.setup_plan import (
    Command,
    SetupPlan,
    Step,
    forget_stamps,
    import_command,
    parser_command,
    write_stamp,
)
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_json
from fluxgym_tui.base.text import human_time

_CHECK_S = 600.0  # importing PyTorch for the first time, on a network disk
_BEAT_S = 20.0  # how long a command may be silent in a log before a line says that it lives
_AGAIN = "What was there before is as it was. Run it again: it goes on where it broke off."
_STDERR = 2

Teller = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An interpreter that runs sd-scripts: its PyTorch, the GPUs that it computed on, how many options it printed.

    `unusable` says why PyTorch computes on no GPU, where it tried to; `adamw8bit` why the 8-bit optimiser, which most
    recipes have, does not run on one.
    """

    torch: str
    gpus: tuple[str, ...]
    unusable: str | None
    adamw8bit: str | None
    options: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an interpreter can import: `missing` modules with the reason, and of PyTorch what `Checked` says of it."""

    missing: tuple[str, ...]
    torch: str | None
    gpus: tuple[str, ...]
    unusable: str | None
    adamw8bit: str | None


def imported(python: Path, modules: Sequence[str], *, cwd: Path) -> Imported:
    """Import `modules` and PyTorch in `python`, and compute on every GPU that it sees.

    Raises:
        FluxgymError: it does not run at all.
    """
    found: dict[str, Any] = _answer(import_command(python, modules), cwd)
    return Imported(
        missing=tuple(found["missing"]),
        torch=found["torch"],
        gpus=tuple(found["gpus"]),
        unusable=found["unusable"],
        adamw8bit=found["adamw8bit"],
    )


def check(python: Path, root: Path) -> Checked:
    """Import what a training needs in `python`, and have sd-scripts at `root` print its parser's options.

    Raises:
        FluxgymError: something is missing, or sd-scripts does not start.
    """
    found = imported(python, NEEDED_MODULES, cwd=root)
    if found.missing or found.torch is None:
        raise FluxgymError(
            f"{python} lacks what sd-scripts needs: {'; '.join(found.missing)}",
            hint="Without --python, setup makes an environment of its own.",
            code=ExitCode.MISSING_EXTRA,
        )
    options = _answer(parser_command(python, root), root)
    if not any(option["name"] == "pretrained_model_name_or_path" for option in options):
        raise FluxgymError(
            f"the parser of {root} has no --pretrained_model_name_or_path: that is another program",
            hint="--path takes a checkout of kohya-ss/sd-scripts.",
        )
    return Checked(
        torch=found.torch,
        gpus=found.gpus,
        unusable=found.unusable,
        adamw8bit=found.adamw8bit,
        options=len(options),
    )


def carry_out(plan: SetupPlan, *, tell: Teller, needs_gpu: bool, lock: int) -> Checked:
    """Do the steps of `plan` that are not done yet. With `needs_gpu` PyTorch must compute on one.

    The commands hold the `lock` of `alone` as well: one that outlives us is still at work.

    Raises:
        FluxgymError: a step failed; what was used before is used still.
    """
    checked: Checked | None = None
    for number, step in enumerate(plan.steps, start=1):
        tell(f"[{number}/{len(plan.steps)}] {step.title}{': done before' if step.done else ''}")
        if step.done:
            continue
        if step.name == "check":
            checked = _checked(plan)
            if needs_gpu and not checked.gpus:
                raise FluxgymError(
                    f"PyTorch {checked.torch} computes on no GPU here: {checked.unusable or 'it sees none'}",
                    hint=f"{_AGAIN} --torch takes another build.",
                    code=ExitCode.FAILED,
                )
            continue
        _do(step, plan, tell=tell, lock=lock)
    assert checked is not None, "a plan checks"
    return checked


def fetch(plan: SetupPlan, *, tell: Teller, lock: int) -> Path:
    """The first step of `plan` alone; the folder that sd-scripts lies in then.

    Raises:
        FluxgymError: it cannot be fetched.
    """
    step = plan.steps[0]
    tell(step.title)
    _do(step, plan, tell=tell, lock=lock)
    return plan.root


def _checked(plan: SetupPlan) -> Checked:
    """`check` of the environment that was made; one that lacks something is made anew the next time."""
    try:
        return check(plan.python, plan.root)
    except FluxgymError as problem:
        if problem.code is ExitCode.MISSING_EXTRA:
            forget_stamps(plan.folder)
            hint = "Run it again: the environment is made anew."
            raise FluxgymError(problem.message, hint=hint, code=ExitCode.FAILED) from problem
        raise


def _do(step: Step, plan: SetupPlan, *, tell: Teller, lock: int) -> None:
    try:
        for command in step.commands:
            _run(command, step, tell=tell, lock=lock)
        if step.name not in ("fetch", "use"):
            write_stamp(plan, step)
    except OSError as error:
        raise FluxgymError(f"{step.title} failed: {error}", hint=_AGAIN, code=ExitCode.FAILED) from error


def record(workspace: Path, checkout: Checkout) -> None:
    """Have the runs of `workspace` use `checkout` with its interpreter.

    Raises:
        FluxgymError: that cannot be written down.
    """
    python = checkout.interpreter
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        write_json(
            workspace / RECORD,
            {"schema": 1, "root": str(checkout.root), "python": None if python is None else str(python)},
        )
    except OSError as error:
        raise FluxgymError(
            f"cannot write {workspace / RECORD}: {error.strerror}", hint="Check that the workspace is yours."
        ) from error


@contextlib.contextmanager
def alone(root: Path) -> Iterator[int]:
    """Only one setup of `root` at a time; the lock that says so, as an open file's number.

    Raises:
        FluxgymError: another is at work.
    """
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"setup-{name}.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FluxgymError(
                f"another setup of {root} is at work", hint="Wait for its end.", code=ExitCode.BUSY
            ) from error
        yield file.fileno()


def _run(command: Command, step: Step, *, tell: Teller, lock: int) -> None:
    """Run one command, its output on our standard error."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
            stderr=_STDERR,
            cwd=step.cwd,
            env=_environment(),
            pass_fds=(lock,),
        )
    except FileNotFoundError as error:
        raise FluxgymError(
            f"{command[0]} is not installed",
            hint=f"Install it (apt install {command[0]}), then run this again.",
            code=ExitCode.MISSING_EXTRA,
        ) from error
    waited_s = 0.0
    while True:
        try:
            code = process.wait(timeout=_BEAT_S)
            break
        except subprocess.TimeoutExpired:
            waited_s += _BEAT_S
            if not os.isatty(_STDERR):  # on a terminal pip draws a bar of its own
                tell(f"    {step.title}: {human_time(waited_s)} so far")
        except KeyboardInterrupt:
            process.wait()  # the terminal interrupted it, too
            raise
    if code != 0:
        venv = "Debian and Ubuntu have that in a package: apt install python3-venv. "
        raise FluxgymError(
            f"{step.title} failed: `{shlex.join(command)}` ended with {code}",
            hint=f"{venv if step.name == 'environment' else ''}{_AGAIN}",
            code=ExitCode.FAILED,
        )


def _answer(command: Command, root: Path) -> Any:
    """The JSON that `command` prints."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=root,
            env={**_environment(), "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
            timeout=_CHECK_S,
            check=True,
        )
        return json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        why = lines[-1] if lines else f"it ended with {error.returncode}"
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        why = str(error)
    raise FluxgymError(
        f"{command[0]} does not do in {root} what it must: {why}",
        hint=f"To see all of it: {shlex.join(command)}",
        code=ExitCode.FAILED,
    )


def _environment() -> dict[str, str]:
    """Ours, without what would mix another Python's packages into the new one."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
