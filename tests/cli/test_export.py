"""`export SPEC --to kohya-gui|toml` by the front door, and back by `import`: the same plan, the same command."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.base.findings import Severity
from fluxgym_tui.checks.preflight import job_named, resolve
from fluxgym_tui.checks.spec_plan import plan_spec
from fluxgym_tui.cli.exports.training_files import exported
from fluxgym_tui.config.importers import Imported, import_spec
from fluxgym_tui.config.models import expected_files
from fluxgym_tui.config.presets import wants_small_t5
from fluxgym_tui.config.sd_flags import FLAG_KINDS
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.workspace import Workspace
from tests.cli.calls import Run, RunJson
from tests.dataset.picture_files import save
from tests.runs.fluxgym_folder import write_folder

ENDINGS = {"kohya-gui": ".json", "toml": ".toml"}


def there_and_back(spec: TrainSpec, to: str, root: Path) -> Imported:
    """`spec` exported into `root` and imported again."""
    path = root / f"there{ENDINGS[to]}"
    for file, text in exported(spec, path, to=to, workspace=Workspace(root)).files.items():
        file.write_text(text, encoding="utf-8")
    return import_spec(path, workspace=root)


def command(spec: TrainSpec, root: Path) -> dict[str, tuple[str, ...]]:
    """sd-scripts' options of `spec`, as words by name: an option said twice counts once, as argparse has it."""
    workspace = Workspace(root)
    resolved, _, model = resolve(spec, workspace=workspace)
    vram = resolved.training.vram
    flags = effective_flags(resolved, backend="kohya", vram=vram, model=model)
    files = expected_files(model, workspace=root, small_t5=wants_small_t5(vram, backend="kohya"))
    job = job_named("name", resolved, flags=flags, files=files, workspace=workspace)
    argv = KohyaBackend(None).would_run(job).argv
    options: dict[str, tuple[str, ...]] = {"--save_precision": ("float",)}  # how it is without: LoRAs are held in fp32
    name = ""
    for word in argv[next(i for i, word in enumerate(argv) if word.endswith(".py")) + 1 :]:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options[name] = (value,) if equals else ()
        else:
            options[name] = (*options.get(name, ()), word)
    return options


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two folders of pictures."""
    root = tmp_path_factory.mktemp("fluxgym")
    for number, size in enumerate([(512, 512), (640, 1024), (1200, 800)]):
        save(root / "photos" / f"{number}.png", size=size)
        save(root / "more" / f"{number}.png", size=size)
    return root


WORDS = st.text(st.sampled_from("abcäß 'x-"), min_size=1, max_size=12).map(str.strip).filter(bool)
TRAINING: dict[str, st.SearchStrategy[Any]] = {
    "vram": st.sampled_from(["8G", "10G", "12G", "16G", "20G", "24G", "40G", "80G", "cpu"]),
    "train_clip_l": st.booleans(),
    "learning_rate": st.sampled_from([8e-4, 1e-5, 2e-6, 1.0]),
    "network_dim": st.integers(1, 64),
    "network_alpha": st.sampled_from([1, 4, 0.5]),
    "network_args": st.sampled_from([None, ("train_blocks=single",), ("rank_dropout=0.1", "train_blocks=all")]),
    "save_every_n_epochs": st.sampled_from([None, 1, 4]),
    "seed": st.sampled_from([0, 1, 42]),
    "optimizer_type": st.sampled_from([None, "adamw8bit", "AdamW", "adafactor", "prodigy"]),
    "optimizer_args": st.sampled_from([None, ("weight_decay=0.1", "betas=0.9,0.99")]),
    "lr_scheduler": st.sampled_from([None, "constant", "cosine"]),
    "lr_warmup_steps": st.sampled_from([None, 0, 100, 0.1]),
    "gradient_accumulation_steps": st.integers(1, 3),
    "gradient_checkpointing": st.sampled_from([None, True, False]),
    "max_grad_norm": st.sampled_from([None, 0, 0.0, 1.0]),
    "mixed_precision": st.sampled_from([None, "bf16", "no"]),
    "save_precision": st.sampled_from([None, "float", "bf16"]),
    "guidance_scale": st.sampled_from([0, 1.0, 3.5]),
    "timestep_sampling": st.sampled_from(["shift", "sigma", "sigmoid"]),
    "discrete_flow_shift": st.sampled_from([3.1582, 3.0]),
    "model_prediction_type": st.sampled_from(["raw", "sigma_scaled"]),
    "loss_type": st.sampled_from(["l2", "huber"]),
    "max_data_loader_n_workers": st.sampled_from([0, 2, 8]),
    "fp8_base": st.sampled_from([None, True, False]),
}
FLAGS: dict[str, st.SearchStrategy[Any]] = {
    "min_snr_gamma": st.sampled_from([5.0, 0.0]),
    "noise_offset": st.just(0.05),
    "huber_c": st.just(0.1),
    "huber_schedule": st.sampled_from(["snr", "constant"]),
    "sigmoid_scale": st.just(1.5),
    "highvram": st.booleans(),
    "sdpa": st.booleans(),
    "cache_latents": st.booleans(),
    "cache_text_encoder_outputs": st.booleans(),
    "unet_lr": st.sampled_from([1e-4, 8e-4]),
    "text_encoder_lr": st.sampled_from([(1e-4,), (1e-4, 2e-4)]),
    "training_comment": st.sampled_from(["a 'quoted' comment", "plain"]),
    "metadata_title": WORDS,
    "lr_scheduler_num_cycles": st.sampled_from([1, 3]),
    "save_state": st.booleans(),
    "t5xxl_max_token_length": st.sampled_from([256, 512]),
    "apply_t5_attn_mask": st.booleans(),
    "flip_aug": st.booleans(),
}
LENGTHS = st.sampled_from([{}, {"max_train_epochs": 3}, {"max_train_steps": 200}, {"max_train_steps": 1600}])


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """The nested dicts of a spec, without its folders."""
    prompts = draw(st.lists(WORDS, max_size=2))
    base_model = draw(st.sampled_from(["flux-dev", "flux-schnell", "dev2pro", "chroma1-hd", "tiny-flux"]))
    flags = draw(st.fixed_dictionaries({}, optional=FLAGS))
    if base_model == "chroma1-hd":
        flags.pop("apply_t5_attn_mask", None)  # Chroma needs it, and the GUI would always set it
    return {
        "name": draw(st.sampled_from(["hrld", "Hrld Person"])),
        **draw(st.fixed_dictionaries({}, optional={"trigger": WORDS})),
        "base_model": base_model,
        "dataset": {
            "resolution": draw(st.sampled_from([512, [768, 1024], [1024, 1024], [1536, 1536]])),
            "resize": draw(st.sampled_from([0, 256])),
            "downscale_only": draw(st.booleans()),
            "enable_bucket": draw(st.booleans()),
            "bucket_no_upscale": draw(st.booleans()),
            "num_repeats": draw(st.integers(1, 12)),
            "batch_size": draw(st.integers(1, 4)),
            "more": draw(st.sampled_from([None, {}, {"trigger": "more", "num_repeats": 2}, {"is_reg": True}])),
        },
        "training": {**draw(st.fixed_dictionaries({}, optional=TRAINING)), **draw(LENGTHS)},
        "samples": {"prompts": prompts, "every_n_steps": 50, "at_first": draw(st.booleans())},
        "flags": flags,
        "extra_args": draw(st.sampled_from([[], ["--their_own", "3"], ["--min_timestep", "100"]])),
    }


def made(data: dict[str, Any], root: Path) -> TrainSpec:
    more = data["dataset"].pop("more")
    subsets = [] if more is None else [{"path": root / "more", **more}]
    return build_spec({**data, "dataset": {"path": root / "photos", **data["dataset"], "subsets": subsets}})


@pytest.mark.parametrize("to", ENDINGS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=specs())
def test_there_and_back_is_the_same_command(to: str, data: dict[str, Any], root: Path) -> None:
    spec = made(data, root)
    back = there_and_back(spec, to, root).spec
    before, after = command(spec, root), command(back, root)
    if to == "toml" and spec.extra_args[:1] == ("--their_own",):
        del before["--their_own"]  # a config file has no place for what is no option; the notes say so
    assert after == before
    assert back.output_name == spec.output_name
    assert back.samples.prompts == spec.samples.prompts
    assert back.backend == spec.backend


def planned(spec: TrainSpec, root: Path) -> dict[str, Any]:
    resolved, _, model = resolve(spec, workspace=Workspace(root))
    flags = effective_flags(resolved, backend="kohya", vram=resolved.training.vram, model=model)
    document: dict[str, Any] = plan_spec(resolved, flags=flags).plan.to_json()
    # What a spec had to be mended for is mended in its export.
    document["findings"] = [item for item in document["findings"] if not item["code"].endswith("_mended")]
    return document


@pytest.mark.parametrize("to", ENDINGS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=specs())
def test_there_and_back_is_the_same_plan(to: str, data: dict[str, Any], root: Path) -> None:
    spec = made(data, root)
    assert planned(there_and_back(spec, to, root).spec, root) == planned(spec, root)


def spec_file(root: Path, text: str = "") -> Path:
    path = root / "hrld.yaml"
    path.write_text(
        f"name: Hrld\ntrigger: hrld\nbase_model: flux-dev\ndataset: {{path: photos}}\n{text}", encoding="utf-8"
    )
    return path


def test_the_gui_is_told_nothing_that_the_spec_does_not_say(run_json: RunJson, tmp_path: Path) -> None:
    spec = spec_file(tmp_path, "training: {vram: 12G, network_dim: 16, network_args: [train_blocks=single]}\n")
    code, document = run_json("export", spec, "--to", "kohya-gui", tmp_path / "gui.json")
    assert (code, document["files"]) == (0, [str(tmp_path / "gui.json"), str(tmp_path / "gui.dataset.toml")])
    assert [note["code"] for note in document["notes"]] == ["unstaged", "name"]
    data = json.loads((tmp_path / "gui.json").read_text(encoding="utf-8"))
    # What fluxgym's own export to the GUI says without having been asked.
    assert data["network_alpha"] == 1.0
    assert (data["min_snr_gamma"], data["noise_offset"], data["multires_noise_iterations"]) == (0, 0, 0)
    assert (data["lr_scheduler"], data["lr_scheduler_num_cycles"]) == ("constant", 1)
    # And what it leaves out.
    assert (data["max_train_epochs"], data["epoch"]) == (16, 16)
    assert (data["blocks_to_swap"], data["unet_lr"], data["text_encoder_lr"]) == (16, 8e-4, 0)
    assert data["xformers"] == "sdpa"
    assert data["additional_parameters"] == "--network_args train_blocks=single"
    dataset = tomllib.loads((tmp_path / "gui.dataset.toml").read_text(encoding="utf-8"))
    assert dataset["datasets"][0]["subsets"] == [
        {"image_dir": str(tmp_path / "photos"), "class_tokens": "hrld", "num_repeats": 10}
    ]
    assert data["dataset_config"] == str(tmp_path / "gui.dataset.toml")


def test_zeros_reach_the_trainer_although_the_gui_drops_them(run: Run, tmp_path: Path) -> None:
    spec = spec_file(tmp_path, "training: {vram: 16G, seed: 0}\n")
    assert run("export", spec, "--to", "kohya-gui", tmp_path / "gui.json")[0] == 0
    words = json.loads((tmp_path / "gui.json").read_text(encoding="utf-8"))["additional_parameters"].split()
    assert words == ["--max_grad_norm", "0.0", "--seed", "0"]


def test_a_config_file_has_the_options_and_the_files_they_name(run: Run, tmp_path: Path) -> None:
    spec = spec_file(
        tmp_path,
        "training: {vram: 20G}\nsamples: {prompts: [hrld on a bike], every_n_steps: 10}\nafter: {publish: true}\n"
        "extra_args: [--min_snr_gamma, 5, --of_theirs]\n",
    )
    code, out, err = run("export", spec, "--to", "toml", tmp_path / "there.toml")
    names = ["there.toml", "there.dataset.toml", "there.prompts.txt"]
    assert (code, out.splitlines()) == (0, [f"wrote {tmp_path / name}" for name in names])
    assert err.splitlines()[:4] == [
        "not all of it could be carried over",
        "  warning: what is to be done after the run (after) is not carried over",
        "  warning: extra_args that are no options of sd-scripts are left out: --of_theirs",
        "    -> Give them by hand.",
    ]
    data = tomllib.loads((tmp_path / "there.toml").read_text(encoding="utf-8"))
    assert set(data) <= set(FLAG_KINDS)
    assert (data["learning_rate"], data["min_snr_gamma"], data["fp8_base"]) == (8e-4, 5.0, True)
    assert data["pretrained_model_name_or_path"] == str(tmp_path / "models" / "unet" / "flux1-dev.sft")
    assert Path(data["sample_prompts"]).read_text(encoding="utf-8") == "hrld on a bike\n"
    assert run("export", spec, "--to", "toml", tmp_path / "there.toml")[0] == 0  # it says the same
    (tmp_path / "there.prompts.txt").write_text("mine", encoding="utf-8")
    code, _, err = run("export", spec, "--to", "toml", tmp_path / "there.toml")
    assert (code, f"{tmp_path / 'there.prompts.txt'} there already" in err) == (2, True)
    assert run("export", spec, "--to", "toml", tmp_path / "there.toml", "--force")[0] == 0


def test_what_the_gui_would_tear_apart_is_said(tmp_path: Path) -> None:
    spec = build_spec(
        {"name": "x", "dataset": {"path": tmp_path}, "extra_args": ["--log_prefix", "two words", "--their_own", "1"]}
    )
    found = exported(spec, tmp_path / "x.json", to="kohya-gui", workspace=Workspace(tmp_path))
    said = [note.title for note in found.notes if note.severity is Severity.WARNING and note.code == "torn"]
    assert said == ["left out, as the GUI tears words apart at spaces: '--log_prefix' 'two words'"]
    assert json.loads(found.files[tmp_path / "x.json"])["additional_parameters"].endswith("--their_own 1")


def test_a_recipe_that_only_this_machine_chose_is_said(tmp_path: Path) -> None:
    spec = build_spec({"name": "x", "dataset": {"path": tmp_path}})
    found = exported(spec, tmp_path / "x.toml", to="toml", workspace=Workspace(tmp_path))
    assert found.notes[0].code == "vram"


def test_wrong_words_are_refused(run: Run, tmp_path: Path) -> None:
    spec = spec_file(tmp_path)
    assert "Did you mean toml?" in run("export", spec, "--to", "tmol", "x.toml")[2]
    assert "needs the file to write" in run("export", spec, "--to", "toml")[2]
    assert "does not end in .json" in run("export", spec, "--to", "kohya-gui", "x.toml")[2]
    code, _, err = run("export", "nothing", "--to", "toml", tmp_path / "x.toml")
    assert (code, "there is no run 'nothing'" in err) == (4, True)


def test_a_training_of_fluxgyms_goes_on_to_the_gui(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path, "old", vram="12G")
    code, _, err = run("export", "old", "--to", "kohya-gui", tmp_path / "gui.json")
    assert (code, "split_mode is said as blocks_to_swap: 18" in err) == (0, True)
    data = json.loads((tmp_path / "gui.json").read_text(encoding="utf-8"))
    assert (data["optimizer"], data["blocks_to_swap"], data["unet_lr"]) == ("adafactor", 18, 0)
    assert "--network_args train_blocks=single" in data["additional_parameters"]
    back = import_spec(tmp_path / "gui.json", workspace=tmp_path).spec
    assert command(back, tmp_path) == command(import_spec(tmp_path / "outputs" / "old").spec, tmp_path)
