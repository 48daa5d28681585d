"""What files edited by hand come to: the trainer's command in train.sh, the datasets in dataset.toml, both checked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.backends.base import Backend, TrainJob
from fluxgym_tui.backends.script import ScriptCommand, read_script
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.checks.run_files import PREPARE
from fluxgym_tui.config.by_hand import HandEdit, HandEdits, RunPlaces, moved
from fluxgym_tui.config.dataset_toml import DatasetConfig, parse_dataset_toml
from fluxgym_tui.config.models import ModelFiles
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue, read_flag
from fluxgym_tui.config.values import Plain

EDITED, REFUSED = HAND_CODES = ("edited_by_hand", "edited_file_refused")
_PROGRAMS = {"builtin": "fluxgym_tui.trainer", "kohya": "flux_train_network.py"}
_MODELS = {"transformer": "pretrained_model_name_or_path", "clip_l": "clip_l", "t5xxl": "t5xxl", "ae": "ae"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HandWork:
    """The edited files of a spec as they are taken; None where a file is not edited, or makes no sense.

    `job` is the training that the edited command asks for; `findings` say what is edited and what does not do.
    """

    edits: HandEdits
    job: TrainJob | None = None
    datasets: tuple[DatasetConfig, ...] | None = None
    findings: tuple[Finding, ...] = ()


def read_hand(edits: HandEdits, *, backend: Backend, places: RunPlaces) -> HandWork:
    """The edited files, read for the run at `places`; what cannot be taken is an error among the findings."""
    job, datasets = None, None
    findings: list[Finding] = []
    if edits.train_sh is not None:
        try:
            command = trainer_command(edits.train_sh, backend=backend, places=places, written_for=places)
            job = _job(command, edits.train_sh, backend=backend, places=places)
        except FluxgymError as error:
            findings.append(_refused(edits.train_sh, error))
    if edits.dataset_toml is not None:
        text = edits.dataset_toml.text_for(places, written_for=places)
        try:
            datasets = parse_dataset_toml(text, path=edits.dataset_toml.path)
        except FluxgymError as error:
            findings.append(_refused(edits.dataset_toml, error))
    return HandWork(edits=edits, job=job, datasets=datasets, findings=tuple(findings))


def trainer_command(edit: HandEdit, *, backend: Backend, places: RunPlaces, written_for: RunPlaces) -> ScriptCommand:
    """The command in the edited train.sh that trains, for the run at `places`.

    Raises:
        FluxgymError: there is none, or more beside it, or it is another trainer than the spec's.
    """
    found = read_script(edit.text_for(places, written_for=written_for), origin=str(edit.path))
    commands = [one for one in found if PREPARE not in one.argv]
    if len(commands) != 1:
        lines = ", ".join(str(one.line) for one in commands)
        raise FluxgymError(
            f"{edit.path}: it has {len(commands)} commands beside the staging, and a run has one"
            + (f" (lines {lines})" if lines else ""),
            hint="Leave the trainer's command, and put others into scripts of your own.",
        )
    command = commands[0]
    if _program(command.argv, backend.name) is None:
        other = next((name for name in _PROGRAMS if _program(command.argv, name) is not None), None)
        what = f"it runs the trainer of backend {other}" if other else f"it does not run {_PROGRAMS[backend.name]}"
        raise FluxgymError(
            f"{edit.path}, line {command.line}: {what}; this spec's backend is {backend.name}",
            hint="Leave the program as it is and edit what is around it, or set `backend` in the spec.",
        )
    return command


def flag_values(arguments: Sequence[str]) -> dict[str, FlagValue]:
    """A trainer's arguments as options by name; of one that stands twice the last counts, as for argparse.

    Raises:
        FluxgymError: a word belongs to no option, or an option lacks its value or has one of another kind.
    """
    values: dict[str, FlagValue] = {}
    for name, words in _options(arguments):
        kind = FLAG_KINDS.get(name)
        many = kind in ("texts", "numbers")
        if kind == "switch" and words:
            raise FluxgymError(f"--{name} is a switch: {words[0]} belongs to no option", hint="Remove that word.")
        if not words and kind not in ("switch", None):
            raise FluxgymError(f"--{name} has no value", hint="Give it one, or remove it.")
        if len(words) > 1 and not many and kind is not None:
            raise FluxgymError(
                f"--{name} takes one value: {words[1]} belongs to no option", hint="Put quotes around it."
            )
        try:
            if not words:
                values[name] = True
            elif many or len(words) > 1:
                values[name] = read_flag(name, tuple(Plain(word) for word in words))
            else:
                values[name] = read_flag(name, Plain(words[0]))
        except ValueError as error:
            raise FluxgymError(f"--{name} {error}", hint=f"`fluxgym-tui flags {name}` says what it takes.") from error
    return values


def hand_findings(work: HandWork, *, places: RunPlaces, generated: Mapping[str, str]) -> list[Finding]:
    """What is edited by hand, each file a warning; the parameters would have `generated` at `places`."""
    findings = list(work.findings)
    for edit in work.edits:
        stale = is_stale(edit, places=places, generated=generated[edit.name])
        findings.append(
            Finding(
                code=EDITED,
                severity=Severity.WARNING,
                title=f"{edit.name} is edited by hand"
                + (" and differs from the parameters, which were changed since" if stale else ""),
                detail="the run trains from it; what the parameters say in its place has no effect",
                fix="Screen Flags, c, shows it; x there goes back to the parameters, as removing the file does.",
                path=str(edit.path),
            )
        )
    return findings


def is_stale(edit: HandEdit, *, places: RunPlaces, generated: str) -> bool:
    """Whether the parameters have changed since: the file at `places` would be `generated` now."""
    if edit.made_from is None:
        return False
    return moved(edit.made_from, edit.places or places, places) != generated


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option's name with the words after it."""
    name: str | None = None
    words: list[str] = []
    for word in arguments:
        if word.startswith("--"):
            if name is not None:
                yield name, words
            name, equals, value = word[2:].partition("=")
            words = [value] if equals else []
        elif name is None:
            raise FluxgymError(f"{word} belongs to no option", hint="Options begin with two dashes: --NAME VALUE.")
        else:
            words.append(word)
    if name is not None:
        yield name, words


def _program(argv: Sequence[str], backend: str) -> int | None:
    """Where in `argv` the trainer's own arguments begin; None where it is not that trainer."""
    program = _PROGRAMS[backend]
    for index, word in enumerate(argv):
        if word == program or Path(word).name == program:
            return index + 1
    return None


def _job(command: ScriptCommand, edit: HandEdit, *, backend: Backend, places: RunPlaces) -> TrainJob:
    """The training that `command` asks for, as the checks take it. FluxgymError where it says what is the run's own."""
    where = f"{edit.path}, line {command.line}"
    begin = _program(command.argv, backend.name)
    assert begin is not None  # `trainer_command` has looked
    try:
        flags = flag_values(command.argv[begin:])
    except FluxgymError as error:
        raise FluxgymError(f"{where}: {error.message}", hint=error.hint) from error
    own = {
        "output_dir": str(places.output_dir),
        "output_name": places.output_name,
        "dataset_config": str(places.output_dir / "dataset.toml"),
    }
    for name, value in own.items():
        if (said := flags.pop(name, None)) != value:
            raise FluxgymError(
                f"{where}: --{name} is {said}, and must be {value}",
                hint="That is the run's own; the spec's name decides it.",
            )
    paths = {role: _path(flags.pop(name, None)) for role, name in _MODELS.items()}
    for role in ("transformer", "t5xxl", "ae"):
        if paths[role] is None:
            raise FluxgymError(f"{where}: --{_MODELS[role]} is missing", hint="Give it the model's file.")
    tokenizers, prompts = _path(flags.pop("tokenizer_cache_dir", None)), _path(flags.pop("sample_prompts", None))
    return TrainJob(
        output_dir=places.output_dir,
        output_name=places.output_name,
        dataset_config=places.output_dir / "dataset.toml",
        models=ModelFiles(
            transformer=paths["transformer"] or Path(),
            clip_l=paths["clip_l"],
            t5xxl=paths["t5xxl"] or Path(),
            ae=paths["ae"] or Path(),
            tokenizer_cache_dir=tokenizers,
        ),
        sample_prompts=prompts,
        flags=flags,
    )


def _path(value: FlagValue | None) -> Path | None:
    return Path(value) if isinstance(value, str) else None


def _refused(edit: HandEdit, error: FluxgymError) -> Finding:
    return Finding(
        code=REFUSED,
        severity=Severity.ERROR,
        title=f"{edit.name}, edited by hand, cannot be taken: {error.message}",
        fix=error.hint,
        path=str(edit.path),
    )
