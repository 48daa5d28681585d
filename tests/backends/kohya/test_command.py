"""sd-scripts behind the seam: the command it is started with, what is refused before, and where it is found."""

import json
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

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


GOLDEN_16G = """\
SD/.venv/bin/accelerate launch --mixed_precision bf16 --num_processes 1 --num_machines 1 --dynamo_backend no
--num_cpu_threads_per_process 8 SD/flux_train_network.py
--pretrained_model_name_or_path /gym/models/unet/flux1-dev.sft --clip_l /gym/models/clip/clip_l.safetensors
--t5xxl /gym/models/clip/t5xxl_fp16.safetensors --ae /gym/models/vae/ae.sft
--sample_prompts /gym/outputs/hrld-person/sample_prompts.txt
--network_module networks.lora_flux --save_model_as safetensors --sdpa --cache_latents_to_disk
--cache_text_encoder_outputs --cache_text_encoder_outputs_to_disk --persistent_data_loader_workers
--mixed_precision bf16 --save_precision bf16 --gradient_checkpointing --fp8_base --optimizer_type adafactor
--optimizer_args relative_step=False scale_parameter=False warmup_init=False --lr_scheduler constant_with_warmup
--max_grad_norm 0 --highvram --learning_rate 0.0008 --network_dim 4 --network_alpha 1 --max_train_epochs 16
--save_every_n_epochs 4 --seed 42 --gradient_accumulation_steps 1 --guidance_scale 1 --timestep_sampling shift
--discrete_flow_shift 3.1582 --model_prediction_type raw --loss_type l2 --max_data_loader_n_workers 2
--network_train_unet_only --sample_every_n_steps 100
--dataset_config /gym/outputs/hrld-person/dataset.toml --output_dir /gym/outputs/hrld-person --output_name hrld-person
--log_with tensorboard --logging_dir /gym/outputs/hrld-person/logs --log_prefix hrld-person- --vae_batch_size 2
"""


def test_the_command_of_a_16_gb_card(checkout: Checkout) -> None:
    spec = {
        "samples": {"prompts": ["hrld person riding a bike"], "every_n_steps": 100},
        "extra_args": ["--vae_batch_size", "2"],
    }
    assert command_of(checkout, spec, "16G") == tuple(GOLDEN_16G.split())


@pytest.mark.parametrize("vram", [key for key in VRAM_KEYS if key != "auto"])
def test_every_command_is_one_that_sd_scripts_parser_takes(checkout: Checkout, vram: str) -> None:
    argv = command_of(checkout, {"training": {"train_clip_l": True, "lr_warmup_steps": 0.1}}, vram)
    words = argv[argv.index("SD/flux_train_network.py") + 1 :]
    used: dict[str, list[str]] = {}
    for word in words:
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
    assert "network_train_unet_only" not in used
    unused = set(RECORDED["fluxgym_used"]) - set(used)
    # What fluxgym passes and a spec of ours has no need for: split_mode is blocks_to_swap, the rest is by recipe.
    recipe = {"fp8_base", "highvram", "gradient_checkpointing", "save_precision", "optimizer_args", "lr_scheduler"}
    recipe |= {"max_grad_norm"}
    assert unused <= {"split_mode", "network_args", "sample_prompts", "sample_every_n_steps", *recipe}


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


def findings(checkout: Checkout, flags: dict[str, FlagValue]) -> dict[str, str]:
    return {finding.code: finding.title for finding in KohyaBackend(checkout).check(job(flags))}


def test_what_sd_scripts_would_stop_at_is_found_before(checkout: Checkout) -> None:
    assert "--netwrk_dim" in findings(checkout, {"netwrk_dim": 4})["flag_refused"]
    assert "flag_refused" not in findings(checkout, {"brand_new": 1})  # a newer checkout has it
    assert "does not take many" in findings(checkout, {"brand_new": "many"})["flag_value"]
    assert "exclude" in findings(checkout, {"blocks_to_swap": 8, "cpu_offload_checkpointing": True})["flags_exclude"]
    cached: dict[str, FlagValue] = {"cache_text_encoder_outputs": True, "caption_dropout_rate": 0.1}
    assert "caption_dropout_rate" in findings(checkout, cached)["flags_exclude"]
    assert "split_mode" in findings(checkout, {"split_mode": True})
    assert "model_missing" in findings(checkout, {})


def test_a_model_of_another_size_is_not_for_sd_scripts(checkout: Checkout, tmp_path: Path) -> None:
    header = json.dumps({"img_in.weight": {"dtype": "F32", "shape": [160, 64], "data_offsets": [0, 40960]}}).encode()
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(40960))
    files = ModelFiles(transformer=path, clip_l=path, t5xxl=path, ae=path)
    found = KohyaBackend(checkout).check(
        TrainJob(output_dir=tmp_path, output_name="x", dataset_config=tmp_path / "d", models=files)
    )
    assert [finding.code for finding in found] == ["model_of_other_size"]
    assert "160 wide" in found[0].title


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
