"""What a run publishes, as plain data: the LoRA, its card, the samples used and a spec without local paths."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.base.text import count
from fluxgym_tui.hub.card import CardBase, CardFacts, CardSample, card_text
from fluxgym_tui.hub.publish import Upload
from fluxgym_tui.runs.adopted import adopted_facts, is_adopted
from fluxgym_tui.runs.checkpoints import Checkpoint, CheckpointSamples, RunFiles, SamplePicture
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.verify import verify_lora

SAMPLES_IN_REPO = "sample"
_BACKENDS = {"builtin": "fluxgym-tui", "kohya": "fluxgym-tui and kohya's sd-scripts"}
# The header's words for settings, where a run has no manifest.
_HEADER_SETTINGS = (
    "learning_rate", "network_dim", "network_alpha", "optimizer", "lr_scheduler", "max_train_steps",
    "gradient_accumulation_steps", "mixed_precision", "timestep_sampling", "discrete_flow_shift",
    "model_prediction_type", "guidance_scale", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A checkpoint ready to go to the repository `repo_id`: its card's text, all files, and what is to be told first.

    `notes` are sentences for people about what is missing or was left out.
    """

    run: RunDirectory
    checkpoint: Checkpoint
    repo_id: str
    card: str
    files: tuple[Upload, ...]
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> str:
        """The LoRA's name in the repository."""
        return _weights_in_repo(self.checkpoint)

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


def prepare_publication(
    run: RunDirectory, *, repo_id: str, checkpoint: str | None = None, workspace: Path | None = None
) -> Publication:
    """Gather what `run` publishes as `repo_id`; `checkpoint` is a file or an epoch, else the picked one or the last.

    Own base models are looked up in `workspace`/models.yaml. Reads every number of the LoRA.

    Raises:
        FluxgymError: there is no such LoRA file, or it is not fit to be published.
    """
    files = RunFiles(run)
    chosen = files.choose(checkpoint)
    verdict = verify_lora(chosen.path)
    if verdict.problem is not None:
        raise FluxgymError(f"not published: {verdict.problem}", hint="Choose another checkpoint.", code=ExitCode.FAILED)
    return publication_of(files, chosen, repo_id=repo_id, workspace=workspace)


def publication_of(files: RunFiles, chosen: Checkpoint, *, repo_id: str, workspace: Path | None = None) -> Publication:
    """The publication of one of the checkpoints in `files`; only its header is read.

    Raises:
        FluxgymError: the LoRA is gone or is none.
    """
    run = files.run
    header = _header(chosen.path)
    facts = adopted_facts(run, workspace=workspace) if is_adopted(run) else _manifest(run)
    samples = files.samples_of(chosen)
    notes: list[str] = []
    if (note := _sample_note(samples, chosen)) is not None:
        notes.append(note)
    elif not samples.pictures:
        notes.append(_no_samples(files, chosen))
    spec = _spec(run, notes)
    card = card_text(
        CardFacts(
            title=str(facts.get("title") or header.get("modelspec.title") or run.name),
            repo_id=repo_id,
            weights=_weights_in_repo(chosen),
            base=_base(facts, header, workspace=workspace, notes=notes),
            trigger=_trigger(facts),
            samples=[
                CardSample(
                    file=_in_repo(picture),
                    prompt="" if picture.prompt is None else picture.prompt.text,
                    negative=None if picture.prompt is None else picture.prompt.negative,
                )
                for picture in samples.pictures
            ],
            sample_note=note,
            pictures=_whole(facts.get("pictures")),
            when=chosen.words,
            made_with=_made_with(facts, header),
            has_spec=spec is not None,
            settings=_settings(run, facts, header),
        )
    )
    uploads = [
        Upload(path_in_repo=_weights_in_repo(chosen), source=chosen.path),
        Upload(path_in_repo="README.md", data=card.encode("utf-8")),
        *(Upload(path_in_repo=_in_repo(picture), source=picture.path) for picture in samples.pictures),
    ]
    if spec is not None:
        uploads.append(Upload(path_in_repo="spec.yaml", data=spec.encode("utf-8")))
    return Publication(run=run, checkpoint=chosen, repo_id=repo_id, card=card, files=tuple(uploads), notes=tuple(notes))


def note_published(publication: Publication, *, url: str, time: float) -> None:
    """Remember in the run where it was published. OSError."""
    write_json(
        _note(publication.run),
        {
            "schema": 1,
            "repo_id": publication.repo_id,
            "url": url,
            "time": time,
            "lora": publication.checkpoint.path.name,
            "files": [file.path_in_repo for file in publication.files],
        },
    )


def published_before(run: RunDirectory) -> Mapping[str, Any]:
    """What was noted when the run was last published: repo_id, url, time, lora, files; empty where it never was."""
    try:
        data = read_json(_note(run))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and isinstance(data.get("repo_id"), str) else {}


def stale_samples(publication: Publication) -> tuple[str, ...]:
    """The sample pictures that an earlier publication of the run put into the same repository and this one lacks."""
    before = published_before(publication.run)
    if before.get("repo_id") != publication.repo_id:
        return ()
    now = {file.path_in_repo for file in publication.files}
    old = before.get("files", [])
    return tuple(path for path in old if str(path).startswith(f"{SAMPLES_IN_REPO}/") and path not in now)


def _note(run: RunDirectory) -> Path:
    return run.run_dir / "published.json"


def _in_repo(picture: SamplePicture) -> str:
    """Where a sample goes; a card links it, so there are no spaces and the like in its name."""
    name = re.sub(r"[^\w.+-]", "_", picture.path.name)
    return f"{SAMPLES_IN_REPO}/{name}"


def _weights_in_repo(chosen: Checkpoint) -> str:
    """The LoRA's own name, but for bytes that are no UTF-8."""
    return re.sub("[\ud800-\udfff]", "_", chosen.path.name)


def _manifest(run: RunDirectory) -> dict[str, Any]:
    try:
        data = read_json(run.manifest)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _header(path: Path) -> dict[str, str]:
    return {name: value for name, value in read_header(path).metadata.items() if value != "None"}


def _spec(run: RunDirectory, notes: list[str]) -> str | None:
    if not run.spec.is_file():
        notes.append("The run has no spec, so none goes up.")
        return None
    # Imported here: it brings pydantic, and the app opens a screen with this module in it.
    from fluxgym_tui.runs.scrub import scrubbed_spec

    try:
        text, left_out = scrubbed_spec(run.spec)
    except FluxgymError as error:
        notes.append(f"The run's spec cannot be read, so none goes up: {error.message}")
        return None
    if left_out:
        notes.append(f"Left out of the spec that goes up: {', '.join(left_out)}.")
    return text


def _sample_note(samples: CheckpointSamples, chosen: Checkpoint) -> str | None:
    if samples.exact or samples.step is None or chosen.step is None:
        return None
    earlier = count(chosen.step - samples.step, "step")
    return f"The pictures were drawn at step {samples.step:,}, {earlier} before this file was saved."


def _no_samples(files: RunFiles, chosen: Checkpoint) -> str:
    drawn = [one for one in files.checkpoints if files.samples_of(one).pictures]
    if not drawn:
        return "The run drew no samples, so the card has no pictures."
    names = ", ".join(one.path.name for one in drawn)
    return f"No samples were drawn for {chosen.path.name}, so the card has no pictures; there are some for {names}."


def _trigger(facts: Mapping[str, Any]) -> str | None:
    trigger = facts.get("trigger")
    return str(trigger) if trigger else None


def _base(facts: Mapping[str, Any], header: Mapping[str, str], *, workspace: Path | None, notes: list[str]) -> CardBase:
    """The base model as models.yaml has it; what its file was called where that does not know it."""
    # Imported here: it brings the reader of YAML, and the app opens a screen with this module in it.
    from fluxgym_tui.config.models import ModelEntry, find_model, load_models

    key = str(facts.get("base_model") or "")
    entry: ModelEntry | None = None
    with suppress(FluxgymError):
        entry = find_model(key, load_models(workspace=workspace)) if key else None
    hub_name = None if entry is None else entry.base or entry.sources["transformer"].repo
    if entry is None or hub_name is None:
        # Of a path only the file's name: where it lies is nobody's business.
        title = Path(key).name or header.get("ss_sd_model_name", "not known")
        notes.append(f"The base model ({title}) is not in models.yaml, so the card names neither its page nor licence.")
        return CardBase(title=title)
    return CardBase(
        title=f"{entry.key} ({entry.title})" if entry.bundled else entry.title,
        hub_name=hub_name,
        license=entry.license,
        license_name=entry.license_name,
        license_link=entry.license_link,
        bundled=entry.bundled,
        arch=entry.arch,
    )


def _made_with(facts: Mapping[str, Any], header: Mapping[str, str]) -> str | None:
    if (version := facts.get("fluxgym_tui")) and (backend := _BACKENDS.get(str(facts.get("backend")))):
        return backend.replace("fluxgym-tui", f"fluxgym-tui {version}", 1)
    if header.get("modelspec.implementation_version", "").startswith("sd-scripts") or "ss_network_module" in header:
        return "kohya's sd-scripts"
    return None


def _settings(run: RunDirectory, facts: Mapping[str, Any], header: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the card may show, by sd-scripts' names."""
    settings: dict[str, Any] = dict(facts.get("settings") or {})
    if not settings:
        settings = {name: header[f"ss_{name}"] for name in _HEADER_SETTINGS if f"ss_{name}" in header}
        if "optimizer" in settings:
            settings["optimizer_type"] = settings.pop("optimizer").rpartition(".")[2]
    return _dataset_settings(run) | settings


def _dataset_settings(run: RunDirectory) -> dict[str, Any]:
    """Resolution, repeats and batch size of the first dataset, from the dataset.toml that was trained."""
    import tomllib  # a card is written once

    try:
        data = tomllib.loads((run.output_dir / "dataset.toml").read_text(encoding="utf-8"))
        dataset = {**data.get("general", {}), **data["datasets"][0]}
        subsets = dataset.get("subsets", [{}])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return {}
    found = {"batch_size": dataset.get("batch_size"), "num_repeats": subsets[0].get("num_repeats")}
    resolution = dataset.get("resolution")
    if isinstance(resolution, list) and len(resolution) == 2:
        found["resolution"] = f"{resolution[0]}x{resolution[1]}"
    elif resolution is not None:
        found["resolution"] = resolution
    return found


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
