"""What a run executes: the child commands of an attempt, as command.json keeps them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.runs.directory import RunDirectory

LogFormat = Literal["builtin", "kohya"]
_SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|API_?KEY|CREDENTIALS?)(_|$)", re.IGNORECASE)
_PHASE = re.compile(r"[a-z][a-z_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """One process of a run: `phase` (download, prepare, train, publish), its `argv`, `cwd`, and what `env` adds.

    `log_format` says how its events are learnt: "builtin" writes them to the file named in `FLUXGYM_EVENTS`, "kohya" is
    read from its log.
    """

    phase: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    log_format: LogFormat = "builtin"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPlan:
    """The children of attempt `attempt`, one after the other; `first_step` steps were made by earlier attempts.

    `total` is the whole run's length where a resumed trainer would tell another.

    `lora` is the file name, in the output folder, that must be there and whole when the trainer is done; None for a run
    that trains nothing. Children after `train` do not decide whether the run succeeded.
    """

    children: tuple[ChildCommand, ...]
    attempt: int = 1
    first_step: int = 0
    total: int | None = None
    lora: str | None = None


def write_plan(run: RunDirectory, plan: CommandPlan) -> None:
    """Write `plan` to command.json, and clear requests that were meant for an earlier attempt.

    Raises:
        FluxgymError: a child has no program, a phase that is no word or comes twice, or carries a secret.
    """
    phases = [child.phase for child in plan.children]
    for child in plan.children:
        if not _PHASE.fullmatch(child.phase) or phases.count(child.phase) > 1:
            raise FluxgymError(f"{child.phase!r} is no phase of its own", hint="Name each child after what it does.")
        if not child.argv:
            raise FluxgymError(f"the command for {child.phase} is empty", hint="Give the program to run.")
        for name in child.env:
            if _SECRET.search(name):
                raise FluxgymError(
                    f"{name} would be written to {run.command}",
                    hint="Leave it in the environment: children inherit it without its being written down.",
                )
    run.control.mkdir(exist_ok=True)
    for request in (run.stop, run.stop_at_checkpoint):
        request.unlink(missing_ok=True)
    children = [
        {
            "phase": child.phase,
            "argv": list(child.argv),
            "cwd": str(child.cwd),
            "env": dict(child.env),
            "log_format": child.log_format,
        }
        for child in plan.children
    ]
    write_json(
        run.command,
        {
            "schema": 1,
            "attempt": plan.attempt,
            "first_step": plan.first_step,
            "total": plan.total,
            "lora": plan.lora,
            "children": children,
        },
    )


def read_plan(run: RunDirectory) -> CommandPlan:
    """The plan in command.json.

    Raises:
        FluxgymError: it is missing or makes no sense.
    """
    try:
        data = read_json(run.command)
    except OSError as error:
        raise FluxgymError(
            f"{run.output_dir} holds no run that can be started: {run.command.name} is missing ({error.strerror})",
            hint="See `fluxgym-tui runs` for the runs there are.",
            code=ExitCode.NOT_FOUND,
        ) from error
    except json.JSONDecodeError as error:
        raise FluxgymError(f"{run.command} is no JSON: {error}", hint="Start the training again.") from error
    try:
        return CommandPlan(
            children=tuple(_child(entry) for entry in data["children"]),
            attempt=int(data["attempt"]),
            first_step=int(data["first_step"]),
            total=None if data.get("total") is None else int(data["total"]),
            lora=None if data["lora"] is None else str(data["lora"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FluxgymError(f"{run.command} makes no sense: {error!r}", hint="Start the training again.") from error


def _child(entry: Any) -> ChildCommand:
    if entry["log_format"] not in get_args(LogFormat):
        raise ValueError(f"log_format {entry['log_format']!r}")
    return ChildCommand(
        phase=str(entry["phase"]),
        argv=tuple(str(word) for word in entry["argv"]),
        cwd=Path(entry["cwd"]),
        env={str(name): str(value) for name, value in entry["env"].items()},
        log_format=entry["log_format"],
    )
