"""What a machine has for training, and what is wrong with it: facts in, findings out."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fluxgym_tui.backends.builtin import BuiltinBackend
from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.backends.kohya.checkout import PINNED_COMMIT, SETUP, Checkout, find_checkout
from fluxgym_tui.backends.kohya.install import Imported, check, imported
from fluxgym_tui.backends.kohya.torch_builds import TORCH_INDEX, TorchBuild, torch_build
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import human_size
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.hub.auth import token_source
from fluxgym_tui.machine.cpu import usable_cores
from fluxgym_tui.machine.disk import DiskFacts, disk_facts
from fluxgym_tui.machine.driver import DriverFacts, driver_facts
from fluxgym_tui.machine.gpu import Gpu, gpus
from fluxgym_tui.machine.memory import MemoryFacts, memory_facts
from fluxgym_tui.machine.sessions import detachment

_LEAST_MEMORY = 16e9  # the T5 of 10 GB, and what reads it
_LEAST_SHARED = 256 << 20  # docker gives 64 MiB
_LEAST_DISK = 45e9  # a base model, its encoders, and some checkpoints
_GOOD_DISK = 5e9  # where those are here


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerFacts:
    """A backend: why it is `missing`, or what its Python could import.

    `problem` says why it does not run at all, `adamw8bit` why its 8-bit optimiser does not.
    """

    missing: str | None = None
    python: Path | None = None
    torch: str | None = None
    gpus: tuple[str, ...] = ()
    unusable: str | None = None
    adamw8bit: str | None = None
    problem: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """All that `diagnose` goes by; None where the system does not say. `shared_bytes` is the size of /dev/shm,
    `models_here` whether the workspace has base models, `login` where the Hugging Face token comes from, `bad_token`
    what is wrong with it."""

    workspace: Path
    processor: str = "x86_64"
    cards: tuple[Gpu, ...] = ()
    driver: DriverFacts = field(default_factory=DriverFacts)
    memory: MemoryFacts | None = None
    cores: float | None = None
    shared_bytes: int | None = None
    disk: DiskFacts | None = None
    models_here: bool = False
    builtin: TrainerFacts = field(default_factory=TrainerFacts)
    kohya: TrainerFacts = field(default_factory=TrainerFacts)
    login: str | None = None
    bad_token: Finding | None = None
    session: Finding | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`rows` are what there is, a name and its facts each; `findings` what is to be said of it, errors first."""

    rows: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]


def machine_facts(
    workspace: Workspace, *, deep: bool = True, narrate: Callable[[str], None] | None = None
) -> MachineFacts:
    """Look at this machine. With `deep` both trainers' PyTorch is imported in their own Pythons: some seconds each."""
    tell = narrate or (lambda _: None)
    login, bad_token = _login()
    return MachineFacts(
        workspace=workspace.root,
        processor=os.uname().machine,
        cards=tuple(gpus()),
        driver=driver_facts(),
        memory=memory_facts(),
        cores=usable_cores(),
        shared_bytes=_size_of(Path("/dev/shm")),
        disk=_disk(workspace.root),
        models_here=any((workspace.root / "models/unet").glob("**/*.s*")),
        builtin=_builtin(tell, deep=deep),
        kohya=_kohya(workspace, tell, deep=deep),
        login=login,
        bad_token=bad_token,
        session=detachment().finding,
    )


def _login() -> tuple[str | None, Finding | None]:
    """Where the Hugging Face token comes from, and what is wrong with it."""
    try:
        source = token_source()
    except FluxgymError as error:
        return None, Finding(code="bad_token", severity=Severity.WARNING, title=error.message, fix=error.hint)
    return (None if source is None else source.place), None


def diagnose(facts: MachineFacts) -> Diagnosis:
    """What `facts` mean for a training."""
    findings: list[Finding] = []
    build = _build(facts, findings)
    _trainers(facts, build, findings)
    _room(facts, findings)
    if facts.bad_token is not None:
        findings.append(facts.bad_token)
    elif facts.login is None:
        findings.append(
            Finding(
                code="not_logged_in",
                severity=Severity.ADVICE,
                title="nobody is logged in to Hugging Face: gated base models and publishing need that",
                fix="fluxgym-tui login",
            )
        )
    if facts.session is not None:
        findings.append(facts.session)
    findings.sort(key=lambda finding: list(Severity).index(finding.severity))
    return Diagnosis(tuple(_rows(facts)), tuple(findings))


def _rows(facts: MachineFacts) -> list[tuple[str, str]]:
    cards = [f"{card.name}, {card.total_mib / 1024:.0f} GB" for card in facts.cards]
    driver = "none" if facts.driver.nvidia is None else f"NVIDIA {facts.driver.nvidia}"
    rows = [("GPU", "; ".join(cards) or ("AMD" if facts.driver.amd else "none")), ("driver", driver)]
    if facts.memory is not None:
        limit = "" if facts.memory.limited_by == "machine" else " (the container's share)"
        rows.append(("memory", f"{human_size(facts.memory.total)}{limit}"))
    if facts.shared_bytes is not None:
        rows.append(("/dev/shm", human_size(facts.shared_bytes)))
    if facts.cores is not None:
        rows.append(("cores", f"{facts.cores:g}"))
    rows.append(("workspace", str(facts.workspace)))
    if facts.disk is not None:
        rows.append(("disk", f"{human_size(facts.disk.free)} free of {human_size(facts.disk.total)}"))
    rows += [("builtin", _trainer_row(facts.builtin)), ("kohya", _trainer_row(facts.kohya))]
    rows.append(("login", facts.login or "none"))
    return rows


def _trainer_row(trainer: TrainerFacts) -> str:
    if trainer.missing is not None:
        return "not installed"
    version = "" if trainer.version is None else f"{trainer.version}, "
    if trainer.problem is not None:
        return f"{version}does not run"
    if trainer.torch is None:
        return f"{version}installed"
    return f"{version}PyTorch {trainer.torch}, computes on {', '.join(trainer.gpus) or 'the processor'}"


def _build(facts: MachineFacts, findings: list[Finding]) -> TorchBuild | None:
    """The PyTorch that fits here; a finding where none does, and where there is no GPU."""
    driver = facts.driver
    if driver.nvidia is None and not driver.amd:
        findings.append(
            Finding(
                code="no_gpu",
                severity=Severity.WARNING,
                title="there is no GPU here, or no driver: a training runs on the processor, which takes days",
                fix="`fluxgym-tui demo` and all planning work without one. For a training rent a GPU.",
            )
        )
        return None
    try:
        return torch_build(
            nvidia=driver.nvidia, capabilities=driver.capabilities, amd=driver.amd, machine=facts.processor
        )
    except FluxgymError as error:
        findings.append(Finding(code="driver", severity=Severity.ERROR, title=error.message, fix=error.hint))
        return None


def _trainers(facts: MachineFacts, build: TorchBuild | None, findings: list[Finding]) -> None:
    """Whether each trainer is here, runs, and computes on the GPU that there is."""
    builtin, kohya = facts.builtin, facts.kohya
    pip = "" if build is None else f" {' '.join(build.packages)} --index-url {TORCH_INDEX}/{build.name}"
    if builtin.missing is not None:
        nobody = kohya.missing is not None
        severity = Severity.ERROR if nobody else Severity.ADVICE
        findings.append(
            Finding(
                code="builtin_missing",
                severity=severity,
                title=f"the built-in trainer cannot train: {builtin.missing}",
                fix="pip install 'fluxgym-tui[train]'",
            )
        )
    else:
        findings += _running("the built-in trainer", builtin, build, fix=f"{builtin.python} -m pip install{pip}")
    if kohya.missing is not None:
        findings.append(
            Finding(
                code="kohya_missing",
                severity=Severity.ADVICE,
                title="sd-scripts is not installed; without it the built-in trainer trains",
                fix=SETUP,
            )
        )
        return
    findings += _running("sd-scripts", kohya, build, fix=SETUP)
    if kohya.adamw8bit is not None:
        findings.append(
            Finding(
                code="bitsandbytes",
                severity=Severity.WARNING,
                title=f"the 8-bit optimiser of sd-scripts does not run here: {kohya.adamw8bit}",
                fix=f"{kohya.python} -m pip install -U bitsandbytes, or training.optimizer_type: adamw",
            )
        )
    if kohya.version is not None and kohya.version != PINNED_COMMIT[:8]:
        findings.append(
            Finding(
                code="kohya_commit",
                severity=Severity.ADVICE,
                title=f"sd-scripts is at {kohya.version}; tested is {PINNED_COMMIT[:8]}",
                fix="Nothing need be done: its own parser says what it takes.",
            )
        )


def _running(name: str, trainer: TrainerFacts, build: TorchBuild | None, *, fix: str) -> list[Finding]:
    if trainer.problem is not None:
        title = f"{name} is installed, and does not run: {trainer.problem}"
        return [Finding(code="trainer_broken", severity=Severity.ERROR, title=title, fix=fix)]
    if build is None or trainer.torch is None or trainer.gpus:
        return []
    why = trainer.unusable or "it sees none"
    title = f"the PyTorch {trainer.torch} of {name} computes on no GPU: {why}"
    return [Finding(code="torch_without_gpu", severity=Severity.ERROR, title=title, fix=fix)]


def _room(facts: MachineFacts, findings: list[Finding]) -> None:
    """Memory, shared memory and disk."""
    memory, disk = facts.memory, facts.disk
    if memory is not None and memory.total < _LEAST_MEMORY:
        findings.append(
            Finding(
                code="little_memory",
                severity=Severity.WARNING,
                title=f"{human_size(memory.total)} of memory is little: the T5 encoder alone is read as 10 GB",
                fix="Rent a machine with more, or use the fp8 T5 file (training.vram: 10G or 8G takes it).",
            )
        )
    if facts.shared_bytes is not None and facts.shared_bytes < _LEAST_SHARED:
        findings.append(
            Finding(
                code="little_shared_memory",
                severity=Severity.ADVICE,
                title=f"/dev/shm has {human_size(facts.shared_bytes)}: many loaders at once may not fit",
                fix="Where a run ends with a bus error: training.max_data_loader_n_workers: 1.",
            )
        )
    if disk is not None:
        least = _GOOD_DISK if facts.models_here else _LEAST_DISK
        if disk.free < least:
            findings.append(
                Finding(
                    code="little_disk",
                    severity=Severity.WARNING,
                    title=f"{human_size(disk.free)} are free on the workspace's disk; a training wants "
                    f"{human_size(least)}",
                    fix="Free some, or choose a workspace on another disk: --workspace DIR.",
                    path=str(facts.workspace),
                )
            )
        if not disk.lasting:
            findings.append(
                Finding(
                    code="disk_does_not_last",
                    severity=Severity.WARNING,
                    title="the workspace lies on the container's own disk, which is gone with it",
                    fix="Choose one on a volume: --workspace /workspace, or set FLUXGYM_HOME.",
                    path=str(facts.workspace),
                )
            )


def _builtin(tell: Callable[[str], None], *, deep: bool) -> TrainerFacts:
    backend = BuiltinBackend()
    python = Path(sys.executable)
    missing = backend.available()
    if missing is not None or not deep:
        return TrainerFacts(missing=missing, python=python, version=backend.version())
    tell(f"importing PyTorch in {python}")
    try:
        found: Imported = imported(python, (), cwd=Path("/"))
    except FluxgymError as error:
        return TrainerFacts(python=python, version=backend.version(), problem=error.message)
    return TrainerFacts(
        python=python,
        version=backend.version(),
        torch=found.torch,
        gpus=found.gpus,
        unusable=found.unusable,
    )


def _kohya(workspace: Workspace, tell: Callable[[str], None], *, deep: bool) -> TrainerFacts:
    try:
        checkout: Checkout | None = find_checkout(workspace=workspace.root)
    except FluxgymError as error:
        return TrainerFacts(problem=error.message)
    backend = KohyaBackend(checkout)
    missing = backend.available()
    if checkout is None or missing is not None:
        return TrainerFacts(missing=missing)
    commit = (checkout.commit() or "")[:8] or None
    if not deep:
        return TrainerFacts(python=checkout.python, version=commit)
    tell(f"importing PyTorch and sd-scripts in {checkout.python}")
    try:
        checked = check(checkout.python, checkout.root)
    except FluxgymError as error:
        return TrainerFacts(python=checkout.python, version=commit, problem=error.message)
    return TrainerFacts(
        python=checkout.python,
        version=commit,
        torch=checked.torch,
        gpus=checked.gpus,
        unusable=checked.unusable,
        adamw8bit=checked.adamw8bit,
    )


def _size_of(folder: Path) -> int | None:
    try:
        stats = os.statvfs(folder)
    except OSError:
        return None
    return stats.f_frsize * stats.f_blocks


def _disk(folder: Path) -> DiskFacts | None:
    try:
        return disk_facts(folder)
    except OSError:
        return None
