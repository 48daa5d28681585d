"""The training being prepared, as it was typed: Dataset, Parameters and Plan share it. Files are in `draft_files`."""

import shlex
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.values import Plain
from fluxgym_tui.ui.draft_fields import FIELD, FIELDS, HEIGHT, NAME, PATH, PROMPTS, TRIGGER, WIDTH
from fluxgym_tui.ui.draft_writer import DraftWriter

if TYPE_CHECKING:  # pydantic comes with these: the first screen is painted without it
    from fluxgym_tui.checks.preflight import Preflight
    from fluxgym_tui.config.sd_flags import FlagValue
    from fluxgym_tui.config.spec import TrainSpec
    from fluxgym_tui.dataset.scanned import ScanResult
    from fluxgym_tui.dataset.staging import StageSource

Value = str | bool
_ORIGIN = "form"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedDraft:
    """What a draft begins with: the spec's keys in `base`, what was typed over them, and the `file` it is saved in.

    `mtime_ns` is that of the file when it was read. `fresh` is one that no file says as it is; `note` is for people.
    """

    base: dict[str, Any]
    values: dict[str, Value]
    file: Path | None = None
    mtime_ns: int | None = None
    fresh: bool = False
    note: str = ""


@dataclass
class Draft:
    """All that is known of the training being prepared. Only the event loop changes it.

    `values` are the fields as typed; `spec` is what they come to, None while `errors` (by field) or `problem` stand
    against it. `ready` is the preflight of `surveyed`, a spec before; `version` grows with each change. `pace` is
    seconds a step of a like run, and that run's name; `held` why the spec's file is not written; `generation` counts
    the drafts that were opened.
    """

    base: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    file: Path | None = None
    mtime_ns: int | None = None
    held: str = ""
    opened: bool = False
    spec: "TrainSpec | None" = None
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    scans: "dict[Path, ScanResult]" = field(default_factory=dict)
    scan_problem: str = ""
    ready: "Preflight | None" = None
    ready_problem: str = ""
    surveyed: "TrainSpec | None" = None
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: dict[str, Value] = field(default_factory=dict)
    pace: tuple[float | None, str] = (None, "")
    starting: bool = False
    version: int = 0
    saved_version: int = 0
    generation: int = 0
    writer: DraftWriter = field(default_factory=DraftWriter)
    _undo: list[tuple[str, dict[str, Value]]] = field(default_factory=list)

    def take(self, opened: OpenedDraft) -> None:
        """Begin with `opened`."""
        self.base, self.values = opened.base, dict(opened.values)
        self.file, self.mtime_ns, self.held, self.opened = opened.file, opened.mtime_ns, "", True
        self.ready, self.ready_problem, self.surveyed = None, "", None
        self.generation += 1
        self._undo.clear()
        self._changed()
        self.saved_version = -1 if opened.fresh else self.version

    @property
    def has_folder(self) -> bool:
        """Whether it was said where the pictures are."""
        return bool(str(self.values.get(PATH, "")).strip())

    @property
    def folder(self) -> Path | None:
        """The folder of pictures, as it was said."""
        text = str(self.values.get(PATH, "")).strip()
        return Path(text).expanduser().absolute() if text else None

    @property
    def sources(self) -> "tuple[StageSource, ...]":
        """The folders that are trained: the one of the pictures, then the subsets of the spec."""
        from fluxgym_tui.checks.spec_plan import stage_sources
        from fluxgym_tui.dataset.staging import StageSource

        if self.spec is not None:
            return stage_sources(self.spec)
        trigger = str(self.values.get(TRIGGER, "")).strip()
        return () if self.folder is None else (StageSource(self.folder, trigger=trigger or None),)

    @property
    def scan(self) -> "ScanResult | None":
        """What was found in the folder of pictures."""
        return self.scans.get(self.folder) if self.folder is not None else None

    @property
    def planned(self) -> bool:
        """Whether `ready` tells of the present spec."""
        return self.ready is not None and self.surveyed is self.spec

    # Changing

    def set(self, key: str, value: Value) -> None:
        """Take what was typed into a field. Prompts that are still the trigger go with it."""
        before = self.values.get(key)
        if before == value:
            return
        if key == TRIGGER and str(self.values.get(PROMPTS, "")).strip() in ("", str(before or "").strip()):
            self.values[PROMPTS] = str(value).strip()
        self.values[key] = value
        self._changed()

    def set_many(self, changes: Mapping[str, Value], *, what: str) -> bool:
        """Change several fields at once; `undo` takes it back. False where nothing would change."""
        before = {key: self.values[key] for key, value in changes.items() if self.values[key] != value}
        if not before:
            return False
        self._undo.append((what, before))
        self.values.update(changes)
        self._changed()
        return True

    @property
    def undoable(self) -> str | None:
        """What `undo` would take back."""
        return self._undo[-1][0] if self._undo else None

    def undo(self) -> None:
        """Take back the newest change of several fields; what else was typed stays."""
        _, before = self._undo.pop()
        self.values.update(before)
        self._changed()

    def set_flag(self, name: str, value: "FlagValue | None") -> None:
        """Set sd-scripts' option `name` where the spec has its place for it; None takes it back to the default."""
        from fluxgym_tui.config.spec import TrainingSpec

        key = f"training.{name}"
        if key in FIELD:
            self.set(key, self.defaults.get(key, "") if value is None else _typed(value))
            return
        group = "training" if name in TrainingSpec.model_fields else "flags"
        part = {other: old for other, old in self.base.get(group, {}).items() if other != name}
        if value is not None:
            part[name] = list(value) if isinstance(value, tuple) else value
        self.base = {**self.base, group: part}
        self._changed()

    def reset_flags(self) -> None:
        """Take all options of sd-scripts back to what a new spec has."""
        self.base = {key: value for key, value in self.base.items() if key not in ("training", "flags", "extra_args")}
        self.values.update({key: value for key, value in self.defaults.items() if key.startswith("training.")})
        self._changed()

    @property
    def extra_args(self) -> str:
        """The extra arguments as a command line has them."""
        return shlex.join(str(word) for word in self.base.get("extra_args", ()))

    @extra_args.setter
    def extra_args(self, text: str) -> None:
        """Raises ValueError where `text` is no command line."""
        self.base = {**self.base, "extra_args": shlex.split(text)}
        self._changed()

    # What it comes to

    def _changed(self) -> None:
        self.version += 1
        self.check()

    def check(self) -> None:
        """Read the fields as a spec."""
        from fluxgym_tui.config.specfile import build_spec

        self.errors, self.problem = {}, ""
        if not self.has_folder:
            self.spec, self.problem = None, "no folder of pictures is chosen"
            return
        try:
            spec = build_spec(spec_values(self.base, self.values), origin=_ORIGIN)
        except FluxgymError as error:
            self.spec = None
            self._take_errors(error.message)
            return
        if spec != self.spec:
            self.spec = spec

    def _take_errors(self, message: str) -> None:
        for line in message.splitlines():
            text = line.removeprefix(f"{_ORIGIN}: ")
            key, _, rest = text.partition(" ")
            if key.startswith("dataset.resolution"):
                self.errors[WIDTH] = rest
            elif key in FIELD:
                self.errors[key] = rest
            else:
                self.problem = self.problem or text
        if self.errors and not self.problem:
            key, words = next(iter(self.errors.items()))
            self.problem = f"{FIELD[key].label} {words}"


def spec_values(base: Mapping[str, Any], values: Mapping[str, Value]) -> dict[str, Any]:
    """The keys of a spec in nested dicts: `base` with what was typed over it. An empty field says nothing."""
    data: dict[str, Any] = deepcopy(dict(base))
    dataset = data.setdefault("dataset", {})
    for item in FIELDS:
        if item.key in (WIDTH, HEIGHT):
            continue
        value = values.get(item.key, "")
        group, _, name = item.key.rpartition(".")
        part = data.setdefault(group, {}) if group else data
        if isinstance(value, bool):
            part[name] = value
        elif not value.strip():
            part.pop(name, None)
            if name == "save_every_n_epochs":
                part[name] = None  # else it would be the default
        elif item.kind == "lines":
            part[name] = [line.strip() for line in value.splitlines() if line.strip()]
        else:
            part[name] = value if item.kind == "text" else Plain(value.strip())
    width, height = str(values.get(WIDTH, "")).strip(), str(values.get(HEIGHT, "")).strip()
    if width or height:
        dataset["resolution"] = [Plain(width), Plain(height or "0")]
    else:
        dataset.pop("resolution", None)
    if path := str(values.get(PATH, "")).strip():
        dataset["path"] = path
    else:
        dataset.pop("path", None)
    if not data.get(NAME) and path:
        data[NAME] = ""
    return data


def typed_values(spec: "TrainSpec") -> dict[str, Value]:
    """The fields as they would be typed to get `spec`."""
    values: dict[str, Value] = {
        PATH: str(spec.dataset.path),
        WIDTH: str(spec.dataset.resolution[0]),
        HEIGHT: str(spec.dataset.resolution[1]),
    }
    for item in FIELDS:
        if item.key in values:
            continue
        part: Any = spec
        *groups, name = item.key.split(".")
        for group in groups:
            part = getattr(part, group)
        values[item.key] = _typed(getattr(part, name))
        if name in ("guidance_scale", "timestep_sampling") and name not in part.model_fields_set:
            values[item.key] = ""  # the base model decides
    return values


def _typed(value: object) -> Value:
    if isinstance(value, bool):
        return value
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "\n".join(str(item) for item in value)
    if isinstance(value, float):
        return number_words(value)
    return str(value)


def number_words(value: float) -> str:
    """A number as people type it: `0.0008` and `3.1582`, `8e-07` for what is smaller, `1` for `1.0`."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.12f}".rstrip("0") if 1e-5 <= abs(value) < 1 and float(f"{value:.12f}") == value else repr(value)
