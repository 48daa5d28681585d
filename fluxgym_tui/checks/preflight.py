"""Preflight: every question a spec leaves open answered, and everything that speaks against its training found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.backends.base import Backend, TrainJob
from fluxgym_tui.backends.builtin import BuiltinBackend
from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.backends.kohya.checkout import find_checkout
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity, blocking
from fluxgym_tui.checks.by_hand import HandWork, hand_findings, read_hand
from fluxgym_tui.checks.model_files import check_model
from fluxgym_tui.checks.recipe import recipe_findings
from fluxgym_tui.checks.run_files import image_dirs, run_files, run_places
from fluxgym_tui.checks.spec_plan import SpecPlan, plan_spec, stage_sources
from fluxgym_tui.config.by_hand import HandEdits
from fluxgym_tui.config.models import ModelEntry, ModelFiles, find_model, load_models
from fluxgym_tui.config.presets import wants_small_t5
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.vram import vram_for
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.dataset.scanned import ScanResult
from fluxgym_tui.hub.auth import token_source
from fluxgym_tui.hub.download import Wanted
from fluxgym_tui.hub.find import ModelState
from fluxgym_tui.machine.cpu import thread_count
from fluxgym_tui.machine.gpu import gpus
from fluxgym_tui.machine.sessions import detachment


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """A spec made ready: `spec` with every `auto` resolved, its plan, model and flags, and what speaks against it.

    `files` is None where files of the base model are missing; those in `to_fetch` are downloaded when the run starts,
    to where `model_state.expected` names them. `findings` begin with the errors. `flags` are the spec's; `hand` is what
    files edited by hand make of it, None where there are none.
    """

    spec: TrainSpec
    backend: Backend
    model: ModelEntry
    model_state: ModelState
    files: ModelFiles | None
    to_fetch: tuple[Wanted, ...]
    flags: Mapping[str, FlagValue]
    plan: SpecPlan
    findings: tuple[Finding, ...]
    hand: HandWork | None = None

    @property
    def trained_flags(self) -> Mapping[str, FlagValue]:
        """What the trainer gets: `flags`, or what stands in a train.sh edited by hand."""
        return self.flags if self.hand is None or self.hand.job is None else self.hand.job.flags

    @property
    def errors(self) -> list[Finding]:
        """What stops the training from starting."""
        return blocking(list(self.findings))


def resolve(
    spec: TrainSpec, *, workspace: Workspace, sd_scripts: Path | None = None
) -> tuple[TrainSpec, Backend, ModelEntry]:
    """`spec` with backend, VRAM recipe and base model named, and the backend and model these are.

    `auto` is kohya where sd-scripts is installed, else builtin; Chroma needs kohya, a bundled base builtin.
    `sd_scripts` is a checkout to use, and makes `auto` kohya; else it is looked for.

    Raises:
        FluxgymError: the base model is unknown, or `sd_scripts` is no checkout or would not be used.
    """
    model = find_model(spec.base_model, load_models(workspace=workspace.root))
    backend: Backend = BuiltinBackend(threads=thread_count())
    if sd_scripts is not None:
        find_checkout(given=sd_scripts)  # it must be one whatever trains
        _refuse_unused(sd_scripts, spec, model)
    if spec.backend == "kohya" or (spec.backend == "auto" and not model.bundled):
        checkout = find_checkout(given=sd_scripts, workspace=workspace.root)
        kohya = KohyaBackend(checkout, threads=thread_count())
        wanted = spec.backend == "kohya" or model.arch == "chroma" or sd_scripts is not None
        if wanted or kohya.available() is None:
            backend = kohya
    vram = spec.training.vram
    if vram == "auto":
        cards = gpus()
        vram = vram_for(cards[0].total_mib / 1024 if cards else None)
    training = spec.training.model_copy(update={"vram": vram})
    resolved = spec.model_copy(update={"backend": backend.name, "base_model": model.key, "training": training})
    return resolved, backend, model


def _refuse_unused(sd_scripts: Path, spec: TrainSpec, model: ModelEntry) -> None:
    """A checkout that was named must not be passed over in silence."""
    if spec.backend == "builtin":
        why, hint = "backend builtin does not run it", "Use backend: kohya, or leave out --sd-scripts."
    elif spec.backend == "auto" and model.bundled:
        why = f"the bundled base {model.key} is trained by backend builtin"
        hint = "Choose another base model, or leave out --sd-scripts."
    else:
        return
    raise FluxgymError(f"--sd-scripts {sd_scripts} has no use here: {why}", hint=hint)


def preflight(
    spec: TrainSpec,
    *,
    workspace: Workspace,
    sd_scripts: Path | None = None,
    scanned: Mapping[Path, ScanResult] | None = None,
    by_hand: HandEdits | None = None,
) -> Preflight:
    """Scan, plan and check `spec`. Starts and writes nothing. `sd_scripts` as in `resolve`.

    `scanned` has folders that were read just before, and need not be read again. `by_hand` are the spec's files that
    were edited by hand: what they say is planned and checked in place of what the spec says.

    Raises:
        FluxgymError: a question has no answer at all: no such model, no such folder.
    """
    resolved, backend, model = resolve(spec, workspace=workspace, sd_scripts=sd_scripts)
    vram = resolved.training.vram
    flags = effective_flags(resolved, backend=backend.name, vram=vram, model=model)
    small_t5 = wants_small_t5(vram, backend=backend.name)
    findings = _backend_findings(backend)
    hand, places = None, None
    sources = stage_sources(resolved)
    try:
        places = run_places(resolved.output_name, sources=sources, workspace=workspace)
    except FluxgymError as error:
        findings.append(Finding(code="holds_workspace", severity=Severity.ERROR, title=error.message, fix=error.hint))
    if by_hand and places is not None:
        hand = read_hand(by_hand, backend=backend, places=places)
    edited = None if hand is None else hand.job
    checked = check_model(
        model,
        workspace.root,
        small_t5=small_t5,
        used=None if edited is None else _paths(edited.models),
    )
    state, files = checked.state, checked.state.files
    if edited is not None:
        files = edited.models
    findings += checked.findings if edited is None or checked.wanted else ()
    own = job_named(resolved.output_name, resolved, flags=flags, files=state.expected, workspace=workspace)
    trained = flags if edited is None else edited.flags
    plan = plan_spec(
        resolved,
        flags=trained,
        transformer=_transformer(state) if edited is None else edited.models.transformer,
        scanned=scanned,
        datasets=None if hand is None else hand.datasets,
        image_dirs=[] if places is None else image_dirs(sources, staged=places.staged),
    )
    findings += plan.plan.findings
    coming = {str(wanted.target) for wanted in checked.wanted}
    findings += [
        finding
        for finding in backend.check(own if edited is None else edited)
        # what is fetched before the trainer starts, or was named as missing above
        if not (finding.code == "model_missing" and (finding.path in coming or edited is None))
    ]
    if hand is not None and places is not None:
        generated = run_files(own, spec=resolved, plan=plan, backend=backend, staged=places.staged)
        findings = [*hand_findings(hand, places=places, generated=generated), *findings]
    if backend.name == "kohya":
        findings += _last_sample_findings(trained, plan)
    findings += recipe_findings(resolved, backend=backend.name)
    findings += _after_findings(resolved)
    findings += _login_findings()
    findings.sort(key=lambda finding: list(Severity).index(finding.severity))
    return Preflight(
        spec=resolved,
        backend=backend,
        model=model,
        model_state=state,
        files=files,
        to_fetch=checked.wanted,
        flags=flags,
        plan=plan,
        findings=tuple(findings),
        hand=hand,
    )


def job_named(
    name: str, spec: TrainSpec, *, flags: Mapping[str, FlagValue], files: ModelFiles, workspace: Workspace
) -> TrainJob:
    """The training as the backend would get it in a run of that name; nothing of it need be there yet."""
    folder = workspace.root / "outputs" / name
    return TrainJob(
        output_dir=folder,
        output_name=name,
        dataset_config=folder / "dataset.toml",
        models=files,
        sample_prompts=folder / "sample_prompts.txt" if spec.samples.prompts else None,
        flags=flags,
        extra_args=spec.extra_args,
    )


def _last_sample_findings(flags: Mapping[str, FlagValue], plan: SpecPlan) -> list[Finding]:
    """A warning where sd-scripts would make samples at the last step: it does so before it saves the LoRA."""
    steps = plan.plan.steps
    ends = {"sample_every_n_steps": steps.total, "sample_every_n_epochs": steps.epochs}
    for name, last in ends.items():
        every = flags.get(name)
        if isinstance(every, int) and last and last % every == 0:
            unit = name.removeprefix("sample_every_n_")
            return [
                Finding(
                    code="sample_before_last_save",
                    severity=Severity.WARNING,
                    title=f"samples every {every} {unit} fall on the last of {last}, before sd-scripts saves the LoRA",
                    fix="Take another interval: a crash while sampling there loses all since the last save.",
                )
            ]
    return []


def _after_findings(spec: TrainSpec) -> list[Finding]:
    """An error where the run could not be published; a warning for each wish that this version does not know."""
    asked = {"notify": spec.after.notify, "command": spec.after.command}
    return (_publish_findings() if spec.after.publish else []) + [
        Finding(
            code="after_not_done",
            severity=Severity.WARNING,
            title=f"after.{name} is not done by this version",
            fix="Do it by hand when the run has ended, or take it out of the spec.",
        )
        for name, wish in asked.items()
        if wish
    ]


def _publish_findings() -> list[Finding]:
    """An error where nobody is logged in: to learn that after hours of training is too late. Asks no one."""
    if token_source() is not None:
        return []
    return [
        Finding(
            code="publish_login",
            severity=Severity.ERROR,
            title="after.publish: nobody is logged in to Hugging Face",
            fix="Log in with a token that may write (fluxgym-tui login), or take after.publish out of the spec.",
        )
    ]


def _login_findings() -> list[Finding]:
    """What may end the run when the user logs out, where the system is set so and there is no way around it."""
    finding = detachment().finding
    return [] if finding is None else [finding]


def _backend_findings(backend: Backend) -> list[Finding]:
    reason = backend.available()
    if reason is None:
        return []
    return [Finding(code="backend_missing", severity=Severity.ERROR, title=f"{backend.name} cannot train: {reason}")]


def _transformer(state: ModelState) -> Path | None:
    """The transformer's file, where it is here."""
    found = state.found.get("transformer")
    return None if found is None else found.path


def _paths(files: ModelFiles) -> set[Path]:
    """The files and the folder that a command names."""
    named = (files.transformer, files.clip_l, files.t5xxl, files.ae, files.tokenizer_cache_dir)
    return {path for path in named if path is not None}
