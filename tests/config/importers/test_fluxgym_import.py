"""fluxgym's settings as specs: what its command said is said, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.backends.builtin import BuiltinBackend
from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Severity
from fluxgym_tui.checks.preflight import job_named
from fluxgym_tui.config.importers import Imported, import_spec
from fluxgym_tui.config.models import expected_files, load_models
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.settings_flags import effective_flags, resolve_spec
from fluxgym_tui.config.specfile import dump_spec, parse_spec
from fluxgym_tui.config.workspace import Workspace
from tests.config.test_fluxgym import FLUXGYM, SAID

DATA = Path(__file__).parents[2] / "data" / "importers"


def fluxgym_folder(root: Path, name: str, config: dict[str, Any]) -> Path:
    """A fluxgym folder with `config` saved in it; the path of that file."""
    for folder in ("models/unet", "outputs", "configs", f"datasets/{name}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    path = root / "configs" / "save.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def imported(root: Path, **fields: Any) -> Imported:
    return import_spec(fluxgym_folder(root, "x", {"lora_name": "x", "advanced_parameters": {}, **fields}))


def kohya_flags(found: Imported) -> dict[str, FlagValue]:
    return effective_flags(found.spec, backend="kohya", vram=found.spec.training.vram)


def as_now(flags: dict[str, FlagValue]) -> dict[str, FlagValue]:
    """fluxgym's options as sd-scripts takes them today, where --split_mode swaps 18 blocks."""
    now = {**flags, **SAID}
    return {**now, "blocks_to_swap": 18} if now.pop("split_mode", False) else now


@pytest.mark.parametrize("vram", ["20G", "16G", "12G"])
@pytest.mark.parametrize("side", [512, 1024])
def test_the_command_is_fluxgyms(tmp_path: Path, vram: str, side: int) -> None:
    found = imported(tmp_path, vram=vram, resolutionX=side)
    assert kohya_flags(found) == as_now(FLUXGYM[vram])
    assert found.kind == "fluxgym"
    assert not [note for note in found.notes if note.severity is not Severity.ADVICE]


def test_every_field_of_the_fork(tmp_path: Path) -> None:
    config = json.loads((DATA / "fluxgym_bucket.json").read_text(encoding="utf-8"))
    found = import_spec(fluxgym_folder(tmp_path, "hrld-person", config))
    spec = found.spec
    assert (spec.name, spec.trigger, spec.base_model, spec.output_name) == (
        "Hrld Person", "hrld person", "flux-dev", "hrld-person",
    )  # fmt: skip
    dataset = spec.dataset
    assert dataset.path == tmp_path / "datasets" / "hrld-person"
    assert (dataset.resolution, dataset.resize, dataset.num_repeats, dataset.batch_size) == ((768, 1024), 0, 5, 1)
    assert (dataset.enable_bucket, dataset.bucket_no_upscale, dataset.max_bucket_reso) == (True, True, 1024)
    assert spec.samples.prompts == ("hrld person riding a bike --d 42", 'hrld person, "smiling"')
    assert spec.samples.every_n_steps == 50
    assert kohya_flags(found) == as_now(FLUXGYM["12G"]) | {
        "network_dim": 16,
        "network_alpha": 16.0,
        "max_train_epochs": 8,
        "save_every_n_epochs": 2,
        "gradient_accumulation_steps": 2,
        "text_encoder_lr": (1e-4, 2e-4),
        "training_comment": 'it\'s for a "friend"',
        "sample_every_n_steps": 50,
    }
    assert parse_spec(dump_spec(spec), folder=tmp_path, origin="dump") == spec


def test_the_lines_of_custom_params(tmp_path: Path) -> None:
    config = json.loads((DATA / "training_config.json").read_text(encoding="utf-8"))
    found = import_spec(fluxgym_folder(tmp_path, "old-style", config))
    assert found.spec.base_model == "dev2pro"
    flags = kohya_flags(found)
    assert flags["min_snr_gamma"] == 5.0
    assert flags["lr_warmup_steps"] == 100
    assert flags["network_args"] == ("train_blocks=double",)
    assert found.spec.extra_args == ("--their_own", "3")
    assert found.spec.dataset.enable_bucket is False
    assert [note.title for note in found.notes if note.severity is Severity.WARNING] == [
        "train_config = '[general]\\nshuffle_caption = false\\n' is left out: no field of fluxgym's"
    ]


@pytest.mark.parametrize("backend", ["kohya", "builtin"])
def test_single_blocks_of_12_gb_reach_both_commands(tmp_path: Path, backend: str) -> None:
    spec = imported(tmp_path, vram="12G").spec
    model = load_models()["flux-dev"]
    resolved = resolve_spec(spec, backend=backend, vram=spec.training.vram, model=model)
    flags = effective_flags(resolved, backend=backend, vram=resolved.training.vram, model=model)
    files = expected_files(model, workspace=tmp_path)
    job = job_named("x", resolved, flags=flags, files=files, workspace=Workspace(tmp_path))
    program = KohyaBackend(None) if backend == "kohya" else BuiltinBackend()
    assert {finding.code for finding in program.check(job)} == {"model_missing"}  # it takes every option
    argv = program.would_run(job).argv
    assert argv[argv.index("--network_args") + 1] == "train_blocks=single"


def test_a_recipe_for_16_gb_keeps_its_optimiser_with_the_built_in_trainer(tmp_path: Path) -> None:
    spec = imported(tmp_path, vram="16G", **{"advanced_parameters": {"--network_train_unet_only": True}}).spec
    flags = effective_flags(spec, backend="builtin", vram="16G")
    assert flags["optimizer_type"] == "adafactor"
    assert flags["max_grad_norm"] == 0.0
    assert spec.training.train_clip_l is False


@pytest.mark.parametrize("value", ["", False, None])
def test_what_is_not_set_is_not_said(tmp_path: Path, value: object) -> None:
    names = ("--enable_bucket", "--max_bucket_reso", "--flip_aug", "--unet_lr", "--max_train_steps")
    found = imported(tmp_path, advanced_parameters=dict.fromkeys(names, value), seed=value, resize=value)
    assert kohya_flags(found) == as_now(FLUXGYM["20G"])
    assert found.spec.dataset.enable_bucket is False
    assert found.spec.dataset.resize == 0


def test_what_its_dataset_toml_beat_is_said_and_left_out(tmp_path: Path) -> None:
    found = imported(tmp_path, advanced_parameters={"--train_batch_size": "4", "--caption_extension": ".cap"})
    assert found.spec.dataset.batch_size == 1
    said = [note.title for note in found.notes if note.code == "no_effect"]
    assert said == [
        "--train_batch_size 4 is left out: fluxgym's dataset.toml said otherwise and won",
        "--caption_extension .cap is left out: fluxgym's dataset.toml said otherwise and won",
    ]


def test_an_option_that_needs_a_value_and_has_none_is_said(tmp_path: Path) -> None:
    found = imported(tmp_path, advanced_parameters={"--unet_lr": True, "--of_a_later_version": "a b"})
    assert [note.title for note in found.notes if note.severity is Severity.WARNING] == [
        "--unet_lr is left out: it was on, and it needs a value"
    ]
    assert found.spec.extra_args == ("--of_a_later_version", "a", "b")


def test_a_value_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match=r"save\.json: network_dim must be a whole number, not the text \"many\""):
        imported(tmp_path, network_dim="many")
    with pytest.raises(FluxgymError, match=r"save\.json: --loss_type|timestep_sampling must be one of"):
        imported(tmp_path, timestep_sampling="sideways")


def test_pictures_that_are_not_there_are_said(tmp_path: Path) -> None:
    path = tmp_path / "save.json"
    path.write_text('{"lora_name": "x", "advanced_parameters": {}}', encoding="utf-8")
    found = import_spec(path, workspace=tmp_path)
    assert "no_folder" in [note.code for note in found.notes]
    given = import_spec(path, workspace=tmp_path, dataset=tmp_path)
    assert given.spec.dataset.path == tmp_path
    assert "no_folder" not in [note.code for note in given.notes]


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "vram": st.sampled_from(["20G", "16G", "12G"]),
        "resolutionX": st.sampled_from([512, 768, 1024]),
        "resolutionY": st.sampled_from([0, 512, 1344]),
        "seed": st.integers(0, 2**31),
        "workers": st.integers(1, 8),
        "learning_rate": st.sampled_from(["8e-4", "0.0001", 1e-4]),
        "network_dim": st.integers(1, 128),
        "max_train_epochs": st.integers(1, 40),
        "save_every_n_epochs": st.integers(1, 8),
        "guidance_scale": st.sampled_from([1, 1.0, 3.5]),
        "timestep_sampling": st.sampled_from(["shift", "sigmoid", "flux_shift"]),
    },
)
_NAMES = {"workers": "max_data_loader_n_workers"}
_NOT_OPTIONS = {"vram", "resolutionX", "resolutionY"}


@settings(max_examples=40, deadline=None)
@given(fields=FIELDS)
def test_any_settings_give_fluxgyms_command(tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]) -> None:
    root = tmp_path_factory.getbasetemp() / "any"
    expected = as_now(FLUXGYM[fields.get("vram", "20G")])
    expected |= {
        _NAMES.get(name, name): float(value) if name in ("learning_rate", "guidance_scale") else value
        for name, value in fields.items()
        if name not in _NOT_OPTIONS
    }
    assert kohya_flags(imported(root, **fields)) == expected


def test_fields_of_other_forks_are_options_where_there_is_one(tmp_path: Path) -> None:
    found = imported(tmp_path, batch_size=2, network_alpha=8, save_state=True, unet_lr="", gpu="0")
    assert found.spec.dataset.batch_size == 2
    assert (kohya_flags(found)["network_alpha"], kohya_flags(found)["save_state"]) == (8.0, True)
    assert [note.title for note in found.notes if note.severity is Severity.WARNING] == [
        "gpu = '0' is left out: no field of fluxgym's"
    ]


@pytest.mark.parametrize(
    "written",
    [
        "--save_state\nlr_scheduler cosine",
        ["--save_state", "lr_scheduler=cosine"],
        {"--save_state": True, "lr_scheduler": "cosine", "x": ""},
    ],
)
def test_custom_parameters_in_any_form(tmp_path: Path, written: object) -> None:
    flags = kohya_flags(imported(tmp_path, custom_params=written))
    assert (flags["save_state"], flags["lr_scheduler"]) == (True, "cosine")
