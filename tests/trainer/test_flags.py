"""The trainer's flags against sd-scripts' own parser: none missing, none taken and ignored."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flag_table import FLAGS, Status, int_or_float
from fluxgym_tui.trainer.flags import check, option_names, parse

ROOT = Path(__file__).parents[2]
KOHYA: dict[str, dict[str, Any]] = {
    flag["dest"]: flag for flag in json.loads((ROOT / "tests/data/flags.json").read_text(encoding="utf-8"))["flags"]
}
REQUIRED = (
    "--pretrained_model_name_or_path", "flux.safetensors", "--clip_l", "c", "--t5xxl", "t", "--ae", "a",
    "--dataset_config", "d.toml", "--output_dir", "out",
    "--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk", "--network_train_unet_only",
)  # fmt: skip


def test_every_flag_of_sd_scripts_has_its_row() -> None:
    assert KOHYA.keys() == {flag.name for flag in FLAGS.values() if not flag.ours}
    assert [flag.name for flag in FLAGS.values() if flag.ours] == ["fluxgym_probe", "fluxgym_on_nan"]


@pytest.mark.parametrize(
    "name", [flag.name for flag in FLAGS.values() if flag.status in (Status.HONOURED, Status.ALWAYS) and not flag.ours]
)
def test_an_accepted_flag_is_shaped_as_in_sd_scripts(name: str) -> None:
    ours, theirs = FLAGS[name], KOHYA[name]
    assert (ours.read is None) == (theirs["nargs"] == 0)
    assert ours.many == (theirs["nargs"] == "*")
    assert ours.default == theirs["default"]
    if theirs["type"] in ("int", "float"):
        assert ours.read is {"int": int, "float": float}[theirs["type"]]
    if theirs["choices"] is not None:
        assert set(ours.choices or ()) <= set(theirs["choices"])
        assert ours.choices


def test_the_options_are_the_honoured_flags() -> None:
    assert set(option_names()) == {flag.name for flag in FLAGS.values() if flag.status is Status.HONOURED}


@pytest.mark.parametrize("name", [f.name for f in FLAGS.values() if f.status in (Status.REFUSED, Status.MEANINGLESS)])
def test_a_refused_flag_is_refused_by_name_with_its_reason(name: str) -> None:
    (problem,) = check([f"--{name}"])
    assert problem.flag == f"--{name}"
    assert FLAGS[name].note in problem.message
    with pytest.raises(FluxgymError, match=f"--{name}: "):
        parse([*REQUIRED, f"--{name}", "1"])


def test_every_accepted_switch_is_taken() -> None:
    either = {"network_train_text_encoder_only"}  # that, or network_train_unet_only
    switches = [
        f"--{f.name}"
        for f in FLAGS.values()
        if f.read is None and f.status in (Status.HONOURED, Status.ALWAYS) and f.name not in either
    ]
    needed = ["--ip_noise_gamma", "0.1", "--noise_offset", "0.1", "--network_weights", "a.safetensors"]
    assert check([*switches, *needed]) == []
    assert check(["--network_train_text_encoder_only"]) == []


def test_defaults_and_values() -> None:
    options = parse([*REQUIRED, "--learning_rate", "8e-4", "--network_args", "train_blocks=single", "x=1", "--seed=7"])
    assert options.learning_rate == 8e-4
    assert options.network_args == ("train_blocks=single", "x=1")
    assert options.seed == 7
    assert (options.max_train_steps, options.guidance_scale, options.optimizer_args) == (1600, 3.5, ())
    assert options.dataset_config == Path("d.toml")
    assert options.gradient_checkpointing is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learning_rat", "1"], "Did you mean --learning_rate"),
        (["--learning_rate", "fast"], "not a number"),
        (["--learning_rate", "nan"], "out of its range"),
        (["--seed", "1.5"], "not a whole number"),
        (["--seed", "4294967296"], "from 0 to 4294967295"),
        (["--resolution", "large"], "width,height"),
        (["--resolution", "512,512,3"], "width,height"),
        (["--network_dim", "0"], "Give 1 or more"),
        (["--network_dropout", "1"], "from 0 to below 1"),
        (["--seed", "1", "--seed", "2"], "given twice"),
        (["--sdpa", "yes"], "takes no value"),
        (["--seed"], "takes one value"),
        (["--loss_type", "huber"], "needs --huber_schedule"),
        (["--loss_type", "smooth_l1", "--huber_c", "0.2"], "Add --huber_schedule constant"),
        (["--ip_noise_gamma_random_strength"], "no effect without --ip_noise_gamma"),
        (["--loss_type", "l3"], "It knows l2, l1, huber"),
        (["--text_encoder_lr", "1e-4", "fast"], "'fast' is not a number"),
        (["--base_weights"], "one value or more"),
        (["--text_encoder_lr", "1e-4", "1e-5"], "T5 is not trained"),
        (["--text_encoder_lr", "1e-4", "--network_train_unet_only"], "CLIP-L is not trained"),
        (["--network_train_unet_only", "--network_train_text_encoder_only"], "one of the two"),
        (["--unet_lr", "1e-4", "--network_train_text_encoder_only"], "the transformer is not trained"),
        (["--huber_schedule", "snr"], "It knows constant, exponential"),
        (["--optimizer_type", "DAdaptAdam"], "It knows AdamW, Adafactor"),
        (["stray"], "no flag stands before it"),
    ],
)
def test_a_wrong_flag_is_explained(arguments: list[str], words: str) -> None:
    (problem,) = check(arguments)
    assert words in f"{problem.message} {problem.fix}"


def test_what_is_missing_is_named_all_at_once() -> None:
    with pytest.raises(FluxgymError) as caught:
        parse(["--seed", "1"])
    for name in ("--ae", "--dataset_config", "--cache_latents_to_disk"):
        assert name in caught.value.message


def test_the_optimisers_name_may_be_in_any_case() -> None:
    assert parse([*REQUIRED, "--optimizer_type", "adamw"]).optimizer_type == "AdamW"


@pytest.mark.parametrize(("text", "value"), [("100", 100), ("100.0", 100), ("0.1", 0.1), ("10%", 0.1), ("0", 0.0)])
def test_steps_or_parts(text: str, value: float) -> None:
    assert int_or_float(text) == value
    assert type(int_or_float(text)) is type(value)


def test_help_lists_what_is_taken() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fluxgym_tui.trainer", "--help"], capture_output=True, text=True, check=True
    )
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  --")}
    assert listed == {f"--{f.name}" for f in FLAGS.values() if f.status in (Status.HONOURED, Status.ALWAYS)}


def test_the_page_is_the_table() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "make_trainer_docs.py"))["page"]()
    assert (ROOT / "docs" / "trainer.md").read_text(encoding="utf-8") == page, "run scripts/make_trainer_docs.py"


def test_reading_flags_needs_no_torch() -> None:
    code = "import sys, fluxgym_tui.trainer.flags; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stray_word_is_named_and_not_the_switch_before_it() -> None:
    (problem,) = check(["--network_train_unet_only", "stray", "word"])
    assert problem.flag == "stray"
    assert "--network_train_unet_only takes no value" in problem.message
    (problem,) = check(["--network_train_unet_only=yes"])
    assert problem.flag == "--network_train_unet_only"
