"""sd-scripts behind the seam: the command it is started with, what is refused before, and where it is found."""

import itertools
import json
import re
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

import fluxgym_tui
from fluxgym_tui.backends.base import TrainJob
from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.backends.kohya.checkout import PINNED_COMMIT, Checkout, find_checkout
from fluxgym_tui.backends.script import script_text
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.config.models import ModelFiles, load_models
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.vram import VRAM_KEYS
from tests.backends.kohya import golden
from tests.backends.kohya.fake_checkout import write_checkout

DATA = Path(__file__).parents[2] / "data"
RECORDED = json.loads((DATA / "flags.json").read_text(encoding="utf-8"))
OPTIONS = {flag["dest"]: flag for flag in RECORDED["flags"]}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A folder that looks like sd-scripts, with an environment of its own that only seems to have accelerate."""
    root = tmp_path / "gym/sd-scripts"
    write_checkout(root)
    (root / ".venv/bin").mkdir(parents=True)
    for name in ("python", "accelerate"):
        program = root / ".venv/bin" / name
        program.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Checkout(root)


def job(flags: dict[str, FlagValue], *, extra_args: tuple[str, ...] = (), prompts: bool = False) -> TrainJob:
    models = Path("/gym/models")
    output = Path("/gym/outputs/hrld-person")
    return TrainJob(
        output_dir=output,
        output_name="hrld-person",
        dataset_config=output / "dataset.toml",
        models=ModelFiles(
            transformer=models / "unet/flux1-dev.sft",
            clip_l=models / "clip/clip_l.safetensors",
            t5xxl=models / "clip/t5xxl_fp16.safetensors",
            ae=models / "vae/ae.sft",
        ),
        sample_prompts=output / "sample_prompts.txt" if prompts else None,
        flags=flags,
        extra_args=extra_args,
    )


def command_of(checkout: Checkout, spec: Mapping[str, object], vram: str) -> tuple[str, ...]:
    """The command for a spec, with the checkout's own folder written as SD."""
    built = build_spec({"name": "Hrld Person", "dataset": {"path": "/photos"}, **spec})
    flags = effective_flags(built, backend="kohya", vram=vram)
    made = KohyaBackend(checkout, threads=8).command(
        job(flags, extra_args=built.extra_args, prompts=bool(built.samples.prompts))
    )
    return tuple(word.replace(str(checkout.root), "SD") for word in made.argv)


def test_the_commands_of_every_recipe_and_model_are_the_recorded_ones() -> None:
    recorded = golden.FILE.read_text(encoding="utf-8").split("\n\n")
    assert len(recorded) == len(golden.cases())
    for case, text in zip(golden.cases(), recorded, strict=True):
        assert f"{golden.title(case)}\n{golden.text(golden.arguments(case))}".rstrip("\n") == text.rstrip("\n")


COMMON = """\
--network_module networks.lora_flux --sdpa --mixed_precision bf16 --save_precision bf16 --gradient_checkpointing
--cache_latents_to_disk --cache_text_encoder_outputs --cache_text_encoder_outputs_to_disk --timestep_sampling shift
--discrete_flow_shift 3.1582 --model_prediction_type raw --guidance_scale 1"""
ADAFACTOR = """\
--optimizer_type adafactor --optimizer_args relative_step=False scale_parameter=False warmup_init=False
--lr_scheduler constant_with_warmup --max_grad_norm 0"""


@pytest.mark.parametrize(
    ("vram", "pixels", "has", "lacks"),
    [
        ("48G", 512, "--optimizer_type adamw8bit", "--fp8_base --blocks_to_swap"),
        ("40G", 512, "--optimizer_type adamw8bit", "--fp8_base --blocks_to_swap"),
        ("24G", 512, "--fp8_base --optimizer_type adamw8bit", "--blocks_to_swap"),
        ("20G", 512, "--fp8_base --optimizer_type adamw8bit", "--blocks_to_swap"),
        ("16G", 512, f"--fp8_base {ADAFACTOR}", "--blocks_to_swap"),
        ("16G", 1024, f"--fp8_base {ADAFACTOR} --blocks_to_swap 12", "--highvram"),
        ("12G", 512, "--fp8_base --blocks_to_swap 16 --optimizer_type adamw8bit", "--highvram --split_mode"),
        ("10G", 512, "--fp8_base --blocks_to_swap 22 t5xxl_fp8_e4m3fn", "--highvram"),
        ("8G", 512, f"--fp8_base --blocks_to_swap 28 t5xxl_fp8_e4m3fn {ADAFACTOR}", "--highvram"),
    ],
)
def test_a_recipe_is_what_sd_scripts_pages_say_for_that_memory(vram: str, pixels: int, has: str, lacks: str) -> None:
    argv = golden.arguments(("flux-dev", vram, pixels))
    words = {part for word in argv for part in (word, Path(word).stem)}
    pairs = {f"{one} {two}" for one, two in itertools.pairwise(argv)}
    for option in re.findall(r"--\w+(?: [^-]\S*)?", f"{COMMON} {has}".replace("\n", " ")):
        assert option in pairs or option in words, option
    assert set(has.split()) <= words
    assert not set(lacks.split()) & words


@pytest.mark.parametrize(
    ("model", "has", "lacks"),
    [
        ("flux-schnell", "flux1-schnell.safetensors ae.sft", "--model_type"),
        ("dev2pro", "flux1-dev2pro.safetensors", "--model_type"),
        ("krea-dev", "flux1-krea-dev.safetensors", "--model_type"),
        ("flex1-alpha", "Flex.1-alpha.safetensors", "--model_type"),
        ("chroma1-hd", "Chroma1-HD.safetensors --model_type chroma --apply_t5_attn_mask sigmoid", "--clip_l shift"),
        ("chroma1-base", "Chroma1-Base.safetensors --model_type chroma --apply_t5_attn_mask", "--clip_l shift"),
    ],
)
def test_a_model_has_the_options_of_its_kind(model: str, has: str, lacks: str) -> None:
    argv = golden.arguments((model, "24G", 512))
    words = {part for word in argv for part in (word, Path(word).name)}
    assert set(has.split()) <= words
    assert not set(lacks.split()) & words
    if model == "flex1-alpha":
        small = golden.arguments((model, "12G", 512))
        assert small[small.index("--blocks_to_swap") + 1] == "13"  # of the recipe's 16
    assert argv[argv.index("--guidance_scale") + 1] == ("0" if model.startswith("chroma") else "1")


def taken(argv: Sequence[str]) -> dict[str, list[str]]:
    """The options of a command with their values, each of which the recorded parser takes."""
    begin = next(index for index, word in enumerate(argv) if word.endswith("flux_train_network.py"))
    used: dict[str, list[str]] = {}
    for word in argv[begin + 1 :]:
        if word.startswith("--"):
            assert word[2:] not in used
            used[word[2:]] = []
        else:
            used[list(used)[-1]].append(word)
    for name, values in used.items():
        option = OPTIONS[name]
        assert len(values) == (0 if option["nargs"] == 0 else 1) or option["nargs"] == "*"
        if option["choices"]:
            assert values[0] in option["choices"]
        if option["type"] in ("int", "float"):
            {"int": int, "float": float}[option["type"]](values[0])
    return used


def test_every_recorded_command_is_one_that_the_parser_takes() -> None:
    for case in golden.cases():
        assert taken(golden.arguments(case))["network_module"] == ["networks.lora_flux"]


@pytest.mark.parametrize("vram", [key for key in VRAM_KEYS if key != "auto"])
def test_every_command_is_one_that_sd_scripts_parser_takes(checkout: Checkout, vram: str) -> None:
    argv = command_of(checkout, {"training": {"train_clip_l": True, "lr_warmup_steps": 0.1}}, vram)
    used = taken(argv)
    assert "network_train_unet_only" not in used
    unused = set(RECORDED["fluxgym_used"]) - set(used)
    # What fluxgym passes and a spec of ours has no need for: split_mode is blocks_to_swap, the rest is by recipe.
    recipe = {"fp8_base", "highvram", "gradient_checkpointing", "save_precision", "optimizer_args", "lr_scheduler"}
    recipe |= {"max_grad_norm"}
    assert unused <= {"split_mode", "network_args", "sample_prompts", "sample_every_n_steps", *recipe}


def test_accelerates_own_settings_have_no_part_in_it(checkout: Checkout) -> None:
    argv = KohyaBackend(checkout).command(job({})).argv
    given = Path(argv[argv.index("--config_file") + 1])
    settings = yaml.safe_load(given.read_text(encoding="utf-8"))
    assert (settings["distributed_type"], settings["num_processes"], settings["use_cpu"]) == ("NO", 1, False)
    assert given.is_relative_to(Path(fluxgym_tui.__file__).parent)


def test_the_environment_keeps_the_log_readable(checkout: Checkout) -> None:
    made = KohyaBackend(checkout).command(job({}))
    assert made.log_format == "kohya"
    assert made.cwd == Path("/gym/outputs/hrld-person")
    assert made.env["PYTHONUNBUFFERED"] == "1"
    assert made.env["PYTHONIOENCODING"] == "utf-8"
    assert not [name for name in made.env if "TOKEN" in name and name != "TOKENIZERS_PARALLELISM"]


def test_chroma_has_no_clip_l_and_says_what_it_is(checkout: Checkout) -> None:
    model = load_models()["chroma1-hd"]
    spec = build_spec({"name": "x", "dataset": {"path": "/p"}, "base_model": "chroma1-hd"})
    flags = effective_flags(spec, backend="kohya", vram="24G", model=model)
    files = ModelFiles(
        transformer=Path("/m/c"), clip_l=None, t5xxl=Path("/m/t"), ae=Path("/m/a"), tokenizer_cache_dir=Path("/m/k")
    )
    made = KohyaBackend(checkout).command(
        TrainJob(output_dir=Path("/o"), output_name="x", dataset_config=Path("/o/d"), models=files, flags=flags)
    )
    assert "--clip_l" not in made.argv
    assert made.argv[made.argv.index("--model_type") + 1] == "chroma"
    assert made.argv[made.argv.index("--tokenizer_cache_dir") + 1] == "/m/k"


class TestCheckout:
    """Where sd-scripts is looked for."""

    def test_the_order_of_places(self, checkout: Checkout, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        (other / "flux_train_network.py").touch()
        workspace = checkout.root.parent
        env = {"FLUXGYM_SD_SCRIPTS": str(other)}
        assert find_checkout(given=checkout.root, env=env) == checkout
        assert find_checkout(workspace=workspace, env=env) == Checkout(other)
        assert find_checkout(workspace=workspace, env={}) == checkout

    def test_one_that_was_named_must_be_one(self, tmp_path: Path) -> None:
        with pytest.raises(FluxgymError, match="no checkout of sd-scripts") as caught:
            find_checkout(given=tmp_path, env={})
        assert PINNED_COMMIT[:8] in str(caught.value.hint)
        with pytest.raises(FluxgymError, match="FLUXGYM_SD_SCRIPTS"):
            find_checkout(env={"FLUXGYM_SD_SCRIPTS": str(tmp_path)})

    def test_without_one_it_says_what_to_do(self) -> None:
        backend = KohyaBackend(None)
        reason = backend.available()
        assert reason is not None
        assert "sd-scripts is not here" in reason
        with pytest.raises(FluxgymError) as caught:
            backend.command(job({}))
        assert caught.value.code is ExitCode.MISSING_EXTRA

    def test_without_accelerate_it_names_the_command(self, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
        assert KohyaBackend(checkout).available() is None
        (checkout.root / ".venv/bin/accelerate").unlink()
        monkeypatch.setenv("PATH", "/nowhere")
        assert "sd-scripts needs accelerate" in str(KohyaBackend(checkout).available())

    def test_ours_is_the_python_where_it_has_none(self, tmp_path: Path) -> None:
        assert Checkout(tmp_path).python == Path(sys.executable)

    def test_its_commit_is_read_from_gits_files(self, tmp_path: Path) -> None:
        def git(*words: str) -> str:
            identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
            done = subprocess.run(
                ["git", *identity, "-C", str(tmp_path), *words], capture_output=True, text=True, check=True
            )
            return done.stdout.strip()

        assert Checkout(tmp_path).commit() is None
        git("init", "-q")
        git("commit", "-q", "--allow-empty", "-m", "one")
        sha = git("rev-parse", "HEAD")
        assert Checkout(tmp_path).commit() == sha
        git("pack-refs", "--all")
        assert Checkout(tmp_path).commit() == sha
        git("checkout", "-q", "--detach")
        assert Checkout(tmp_path).commit() == sha

    def test_the_submodule_is_pinned_to_the_tested_commit(self) -> None:
        root = Path(__file__).parents[3]
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-tree", "HEAD", "sd-scripts"], capture_output=True, text=True, check=True
        )
        assert listed.stdout.split()[:3] == ["160000", "commit", PINNED_COMMIT]


def test_a_script_runs_what_the_command_does(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    code = "import os, sys; print(os.getcwd(), os.environ['A'], sys.argv[1:])"
    argv = (sys.executable, "-c", code, "--name", "a 'b' $c", "--flag")
    text = script_text([(argv, {"A": "x y"}, folder), (("echo", "done"), {}, folder)])
    assert "  --name " in text
    path = tmp_path / "train.sh"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(["sh", str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"""{folder} x y ['--name', "a 'b' $c", '--flag']\ndone\n"""
