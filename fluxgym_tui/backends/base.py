"""The seam between a run and the program that trains: what goes in, what command comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.config.sd_flags import FlagValue

if TYPE_CHECKING:  # only its name is needed here: reading models.yaml is not
    from fluxgym_tui.config.models import ModelFiles

LogFormat = Literal["builtin", "kohya"]
"""How the attempt's log is read: `builtin` writes its events beside it, `kohya`'s are parsed out of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """One training as a backend needs it: every `auto` resolved, every file staged.

    `flags` maps sd-scripts' names (without dashes) to values and has neither dataset, model nor output paths: those are
    the other fields. `extra_args` come last in the command, as they are.
    """

    output_dir: Path
    output_name: str
    dataset_config: Path
    models: ModelFiles
    sample_prompts: Path | None = None
    flags: Mapping[str, FlagValue] = field(default_factory=dict)
    extra_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainCommand:
    """A process to start: arguments, what to add to the environment (nothing secret), folder, and how its log reads."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path
    log_format: LogFormat


class Backend(Protocol):
    """A program that trains FLUX LoRAs by sd-scripts' flags."""

    @property
    def name(self) -> str:
        """The word of specs and manifests: `builtin` or `kohya`."""

    def available(self) -> str | None:
        """None where it can train here and now, else the reason with the command that mends it. Quick."""

    def version(self) -> str | None:
        """What exactly would train: a version of ours, or a commit; None where that cannot be told."""

    def check(self, job: TrainJob) -> list[Finding]:
        """What stands against `job`, found without starting anything. Errors stop the start."""

    def command(self, job: TrainJob) -> TrainCommand:
        """The command that trains `job`. FluxgymError where `check` has errors."""

    def would_run(self, job: TrainJob) -> TrainCommand:
        """The same command for reading, whether or not all that it needs is installed here."""


def flag_arguments(flags: Mapping[str, FlagValue]) -> list[str]:
    """`flags` as command-line arguments, in their order: `{"sdpa": True, "seed": 42}` -> `["--sdpa", "--seed", "42"]`.

    A switch that is False is left out; a tuple becomes several arguments. A value that begins with a dash is joined
    with `=`, since it would be read as a flag otherwise.
    """
    arguments: list[str] = []
    for name, value in flags.items():
        if value is False:
            continue
        arguments.append(f"--{name}")
        if value is True:
            continue
        if isinstance(value, tuple):
            arguments.extend(argument_text(item) for item in value)
        elif (text := argument_text(value)).startswith("-"):
            arguments[-1] += f"={text}"
        else:
            arguments.append(text)
    return arguments


def argument_text(value: str | float) -> str:
    """One value as an argument; a float by its shortest exact form (`0.0008`), a whole one without its point."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
