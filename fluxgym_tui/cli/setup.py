"""`setup kohya`: fetch sd-scripts and make it an environment of its own."""

import argparse
import platform
import shlex
from pathlib import Path
from typing import Any

from fluxgym_tui.backends.kohya.checkout import PINNED_COMMIT, RECORD, SCRIPT, Checkout, find_checkout
from fluxgym_tui.backends.kohya.install import Checked, alone, carry_out, check, fetch, record
from fluxgym_tui.backends.kohya.setup_plan import SetupPlan, base_python, check_commands, setup_plan
from fluxgym_tui.backends.kohya.torch_builds import TORCH_INDEX, TorchBuild, named_build, torch_build
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import count
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.machine.disk import disk_facts
from fluxgym_tui.machine.driver import DriverFacts, driver_facts


def configure(parser: CommandParser) -> None:
    """Set the options of `setup`."""
    parser.show(
        description="Make the trainer kohya ready: fetch kohya-ss/sd-scripts at the tested commit, make it a Python\n"
        "environment of its own with the PyTorch that fits the GPU, and see it start. What is there already is used;\n"
        "after a failure, or Ctrl+C, the same command goes on. Nothing of sd-scripts is changed.",
        example="fluxgym-tui setup kohya --dry-run\nfluxgym-tui setup kohya\n"
        "fluxgym-tui setup kohya --path ~/kohya_ss/sd-scripts --python ~/kohya_ss/venv/bin/python",
    )
    parser.add_argument("what", choices=["kohya"], metavar="kohya", help="the trainer")
    parser.add_argument("--path", type=Path, metavar="CHECKOUT", help="use this checkout of sd-scripts, as it is")
    parser.add_argument(
        "--python", type=Path, metavar="FILE", help="use this interpreter, which has sd-scripts' requirements"
    )
    parser.add_argument(
        "--torch", metavar="BUILD", help="the build of PyTorch: cu124, cu128, rocm6.4, cpu ... (default: by the GPU)"
    )
    parser.add_argument(
        "--torch-index",
        metavar="URL",
        type=_url,
        help=f"where PyTorch is fetched from (default: {TORCH_INDEX})",
    )
    parser.add_argument("--dry-run", action="store_true", help="print every command, and run none")
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Make sd-scripts ready, or say what that would take."""
    workspace = workspace_of(args).root
    found = _checkout_at(args.path) if args.path is not None else _found(workspace, repair=not args.dry_run)
    interpreter = _interpreter(args.python) or (found.interpreter if found else None)
    if interpreter is not None and (args.torch is not None or args.torch_index is not None):
        raise FluxgymError(
            f"{interpreter} is used as it is: --torch and --torch-index have no use with it",
            hint=f"Leave them out, or leave out --python and delete {workspace / RECORD}.",
        )
    driver = driver_facts()
    if args.dry_run:
        if interpreter is None or found is None:
            _print(_plan(args, found, workspace, driver), found, out, as_json=args.json)
        else:
            _print_check(found.root, interpreter, out, as_json=args.json)
        return ExitCode.OK
    if found is not None and (commit := found.commit()) not in (None, PINNED_COMMIT):
        diagnostics.narrate(
            f"{found.root} is at {str(commit)[:8]}, not at the tested {PINNED_COMMIT[:8]}; it is left so"
        )
    needs_gpu = args.torch != "cpu" and (driver.nvidia is not None or driver.amd)
    with alone(found.root if found else _place(workspace)[0]) as lock:
        if interpreter is not None:
            root = (
                found.root
                if found
                else fetch(_plan(args, found, workspace, driver), tell=diagnostics.narrate, lock=lock)
            )
            checkout, checked = Checkout(root, interpreter), check(interpreter, root)
        else:
            wanted = None if args.torch is None else named_build(args.torch, machine=platform.machine())
            checkout, checked = _as_it_is(found, wanted, needs_gpu=needs_gpu) or _built(
                _plan(args, found, workspace, driver), needs_gpu=needs_gpu, lock=lock
            )
    if args.path is not None or args.python is not None:
        record(workspace, checkout)
    _report(checkout, checked, out, as_json=args.json)
    return ExitCode.OK


def _found(workspace: Path, *, repair: bool) -> Checkout | None:
    """The checkout that runs would use now. With `repair` a note of one that is gone is removed."""
    try:
        return find_checkout(workspace=workspace)
    except FluxgymError as problem:
        note = workspace / RECORD
        if not repair or not note.is_file():
            raise
        diagnostics.narrate(f"{problem.message}; that note is removed")
        note.unlink()
        return find_checkout(workspace=workspace)


def _as_it_is(found: Checkout | None, wanted: TorchBuild | None, *, needs_gpu: bool) -> tuple[Checkout, Checked] | None:
    """The checkout that is here, where the environment that it has runs it, with the PyTorch that was asked for."""
    if found is None or found.own_python is None:
        return None
    diagnostics.narrate(f"looking at {found.own_python}")
    try:
        checked = check(found.own_python, found.root)
    except FluxgymError as problem:
        diagnostics.narrate(f"it will not do: {problem.message}")
        return None
    why = None
    if wanted is not None and checked.torch != f"{wanted.torch}+{wanted.name}":
        why = f"it has PyTorch {checked.torch}, not the {wanted.torch}+{wanted.name} that was asked for"
    elif needs_gpu and not checked.gpus:
        why = f"PyTorch {checked.torch} computes on no GPU there"
    if why is None:
        return found, checked
    diagnostics.narrate(f"it will not do: {why}")
    return None


def _built(plan: SetupPlan, *, needs_gpu: bool, lock: int) -> tuple[Checkout, Checked]:
    """The checkout with an environment made for it."""
    _check_room(plan)
    checked = carry_out(plan, tell=diagnostics.narrate, needs_gpu=needs_gpu, lock=lock)
    return Checkout(plan.root), checked


def _plan(args: argparse.Namespace, found: Checkout | None, workspace: Path, driver: DriverFacts) -> SetupPlan:
    root, superproject = (found.root, None) if found else _place(workspace)
    machine = platform.machine()
    build = (
        torch_build(nvidia=driver.nvidia, capabilities=driver.capabilities, amd=driver.amd, machine=machine)
        if args.torch is None
        else named_build(args.torch, machine=machine)
    )
    return setup_plan(
        root,
        build=build,
        python=base_python(),
        superproject=superproject,
        torch_index=args.torch_index or TORCH_INDEX,
    )


def _url(text: str) -> str:
    """An argparse type: the URL of a package index, without a slash at its end."""
    if "://" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL")
    return text.rstrip("/")


def _place(workspace: Path) -> tuple[Path, Path | None]:
    """Where sd-scripts belongs where it is not yet: our submodule, else the workspace; and whose submodule that is."""
    ours = bundled("models.yaml").parent
    if (ours / ".gitmodules").is_file() and (ours / ".git").exists():
        return ours / "sd-scripts", ours
    root = workspace / "sd-scripts"
    if root.is_dir() and any(root.iterdir()):
        raise FluxgymError(
            f"{root} is in the way: it is no checkout of sd-scripts (it has no {SCRIPT})",
            hint="Move it away, or name a checkout: --path DIR.",
        )
    return root, None


def _checkout_at(path: Path) -> Checkout:
    checkout = Checkout(path.expanduser().absolute())
    if not checkout.script.is_file():
        raise FluxgymError(
            f"{path} is no checkout of sd-scripts: it has no {SCRIPT}",
            hint="Name its folder; without --path one is fetched.",
            code=ExitCode.NOT_FOUND,
        )
    return checkout


def _interpreter(path: Path | None) -> Path | None:
    """The interpreter that was named; a folder is taken for an environment."""
    if path is None:
        return None
    absolute = path.expanduser().absolute()  # never resolved: a link in an environment is what makes it one
    python = absolute / "bin" / "python" if absolute.is_dir() else absolute
    if not python.is_file():
        raise FluxgymError(f"{path} is no Python interpreter", hint="Name the file: --python ENV/bin/python")
    return python


def _check_room(plan: SetupPlan) -> None:
    """A disk too small would be full in the middle of a download."""
    if all(step.done for step in plan.steps if step.name in ("environment", "torch", "requirements")):
        return
    facts = disk_facts(plan.root)
    if facts.free < plan.build.room_gb * 1e9:
        raise FluxgymError(
            f"{plan.root} lies on a disk with {facts.free / 1e9:.1f} GB free; PyTorch {plan.build.name} and the rest "
            f"take about {plan.build.room_gb:g} GB",
            hint="Free some, or choose a workspace on another disk: --workspace DIR.",
        )


def _print(plan: SetupPlan, found: Checkout | None, out: Output, *, as_json: bool) -> None:
    """Every command of the plan, in a form that a shell takes."""
    own = found.own_python if found else None
    if as_json:
        steps: list[dict[str, Any]] = [
            {
                "name": step.name,
                "title": step.title,
                "commands": [list(command) for command in step.commands],
                "cwd": str(step.cwd),
                "done": step.done,
            }
            for step in plan.steps
        ]
        python = None if own is None else str(own)
        out.json({"root": str(plan.root), "python": python, "torch": plan.build.name, "steps": steps})
        return
    out.line(f"# sd-scripts in {plan.root}; PyTorch {plan.build.torch} ({plan.build.name}: {plan.build.words})")
    if own is not None:
        out.line(f"# {own} is looked at first; where it runs sd-scripts, nothing of this is done")
    for number, step in enumerate(plan.steps, start=1):
        out.line(f"# {number}. {step.title}{' (done before)' if step.done else ''}")
        out.line(f"cd {shlex.quote(str(step.cwd))}")
        out.lines(shlex.join(command) for command in step.commands)


def _print_check(root: Path, interpreter: Path, out: Output, *, as_json: bool) -> None:
    """The commands that look whether an interpreter will do: nothing else is needed."""
    commands = check_commands(interpreter, root)
    if as_json:
        step = {"name": "check", "title": "looking whether it will do", "cwd": str(root), "done": False}
        steps = [{**step, "commands": [list(command) for command in commands]}]
        out.json({"root": str(root), "python": str(interpreter), "torch": None, "steps": steps})
        return
    out.line(f"# sd-scripts in {root} is to run in {interpreter}: nothing is installed")
    out.lines(shlex.join(command) for command in commands)


def _report(checkout: Checkout, checked: Checked, out: Output, *, as_json: bool) -> None:
    commit = checkout.commit()
    if as_json:
        out.json(
            {
                "root": str(checkout.root),
                "python": str(checkout.python),
                "commit": commit,
                "torch": checked.torch,
                "gpus": list(checked.gpus),
                "adamw8bit": checked.adamw8bit,
                "options": checked.options,
            }
        )
        return
    gpus = ", ".join(checked.gpus) if checked.gpus else "no GPU"
    at = "" if commit is None else f" at {commit[:8]}"
    out.line(f"kohya is ready: sd-scripts{at} in {checkout.root}")
    out.line(f"  {checkout.python}: PyTorch {checked.torch}, {gpus}, {count(checked.options, 'option')}")
    if checked.adamw8bit is not None:
        out.line(f"  but its 8-bit optimiser does not run: {checked.adamw8bit}")
        out.line(f"  -> {checkout.python} -m pip install -U bitsandbytes, or training.optimizer_type: adamw")
    out.line("  `backend: auto` takes it from now on; fluxgym-tui flags lists its options.")
