"""The trainer by its front door: what it makes, says, counts, and how it ends."""

import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.__main__ import main
from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.learner import Learner
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.setup import network_arguments, settle
from fluxgym_tui.trainer.steps import updates
from tests.trainer.trainer_options import (
    QUICK,
    arguments_for,
    drawn_dataset,
    kinds,
    options_for,
    read_events,
    train_quickly,
)

SAMPLES = "a red square --w 64 --h 80 --d 7 --s 2\na blue cat --s 1 --w 64 --h 64 --l 2 --n grey --ar 2\n"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn pictures, trained one by one; their caches come with the first training."""
    return drawn_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A training with everything in it: checkpoints, samples, probe; its folder and events."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    prompts = folder.parent / "prompts.txt"
    prompts.write_text(SAMPLES, encoding="utf-8")
    events = train_quickly(
        dataset, folder, "--output_name", "cat", "--max_train_epochs", "4", "--save_every_n_epochs", "2",
        "--sample_prompts", str(prompts), "--sample_every_n_epochs", "2", "--sample_at_first", "--fluxgym_probe",
        "--metadata_title", "Cat", "--network_dim", "8",
    )  # fmt: skip
    return folder, events


def run_main(
    monkeypatch: pytest.MonkeyPatch, folder: Path, arguments: Sequence[str]
) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and events of the trainer's main function, in this process."""
    events = folder / "events.jsonl"
    monkeypatch.setenv("FLUXGYM_EVENTS", str(events))
    monkeypatch.setattr("fluxgym_tui.trainer.stopping.StopRequest.listen", lambda _: None)
    return main(arguments), read_events(events)


def test_a_training_leaves_the_files_of_sd_scripts(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, _ = whole
    assert sorted(path.name for path in folder.iterdir()) == ["cat-000002.safetensors", "cat.safetensors", "sample"]
    names = sorted(path.name for path in (folder / "sample").glob("*.png"))
    assert [re.sub(r"_\d{14}", "", name) for name in names] == [
        f"cat_e{epoch:06d}_{rest}" for epoch in (0, 2, 4) for rest in ("00_7.png", "01.png")
    ]
    with Image.open(folder / "sample" / names[0]) as picture:
        assert picture.size == (64, 80)


def test_the_lora_is_whole_and_tells_of_its_training(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    lora = open_lora(whole[0] / "cat.safetensors")
    assert set(lora.ranks.values()) == {8}
    told = lora.metadata
    assert (told["ss_steps"], told["ss_epoch"], told["ss_num_epochs"], told["ss_num_train_images"]) == (
        "12",
        "4",
        "4",
        "3",
    )
    assert (told["modelspec.title"], told["ss_output_name"], told["ss_seed"]) == ("Cat", "cat", "1")
    assert open_lora(whole[0] / "cat-000002.safetensors").metadata["ss_steps"] == "6"


def test_every_fact_is_an_event_in_its_order(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, events = whole
    steps = kinds(events, "step")
    assert [(event["step"], event["total"], event["epoch"]) for event in steps] == [
        (step, 12, 1 + (step - 1) // 3) for step in range(1, 13)
    ]
    assert all(event["loss"] > 0 and event["seconds"] > 0 and event["lr"] == 2e-3 for event in steps)
    window = [event["loss"] for event in steps[2:5]]
    assert steps[4]["avg_loss"] == pytest.approx(sum(window) / 3)
    told = [
        (event["kind"], event.get("name") or event.get("step") or event.get("epoch"))
        for event in kinds(events, "phase", "epoch", "checkpoint", "sample", "probe")
    ]
    assert [kind for kind, _ in told].count("sample") == 6
    phases = [name for kind, name in told if kind == "phase"]
    assert phases == [
        "prepare", "cache_latents", "cache_text", "load", "sample",
        "train", "save", "sample", "train", "save", "sample",
    ]  # fmt: skip
    saved = [event["path"] for event in kinds(events, "checkpoint")]
    assert saved == [str(folder / "cat-000002.safetensors"), str(folder / "cat.safetensors")]
    last_save = max(index for index, event in enumerate(events) if event["kind"] == "checkpoint")
    first_last_sample = min(i for i, event in enumerate(events) if event["kind"] == "sample" and event["step"] == 12)
    assert last_save < first_last_sample
    assert [event["code"] for event in kinds(events, "warning")] == ["prompt_unknown_flag"]


def test_training_lowers_the_probe(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    before, after = kinds(whole[1], "probe")
    assert (before["when"], after["when"], before["pictures"]) == ("before", "after", 3)
    assert after["loss"] < before["loss"]


def test_a_seed_means_the_same_numbers(dataset: Path, tmp_path: Path) -> None:
    steps = ("--max_train_steps", "4")
    events = {
        name: train_quickly(dataset, tmp_path / name, *steps, *more)
        for name, more in {
            "one": ("--max_data_loader_n_workers=0",),
            "again": ("--max_data_loader_n_workers=2", "--output_name=last", "--gradient_checkpointing"),
        }.items()
    }
    losses = {name: [event["loss"] for event in kinds(told, "step")] for name, told in events.items()}
    assert losses["one"] == pytest.approx(losses["again"], rel=1e-5)
    one, again = (load_file(tmp_path / name / "last.safetensors") for name in ("one", "again"))
    assert all(torch.allclose(one[key], again[key], atol=1e-5) for key in one)


def test_accumulation_counts_as_sd_scripts_does(dataset: Path) -> None:
    setup = settle(options_for(dataset, *QUICK, "--gradient_accumulation_steps", "2", "--max_train_epochs", "2"))
    made = list(updates(setup))
    assert setup.counts.total == len(made) == 4
    assert [(update.epoch, update.first_of_epoch, len(update.batches)) for update in made] == [
        (1, True, 2), (1, False, 1), (2, True, 2), (2, False, 1),
    ]  # fmt: skip


def test_steps_may_end_in_the_midst_of_an_epoch(dataset: Path, tmp_path: Path) -> None:
    events = train_quickly(dataset, tmp_path / "out", "--max_train_steps", "4", "--save_every_n_steps", "2",
                           "--save_last_n_steps", "1", "--save_every_n_epochs", "1")  # fmt: skip
    assert [event["epoch"] for event in kinds(events, "step")] == [1, 1, 1, 2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "last-000001.safetensors", "last-step00000004.safetensors", "last.safetensors",
    ]  # fmt: skip


def test_only_the_last_epochs_checkpoints_are_kept(dataset: Path, tmp_path: Path) -> None:
    train_quickly(dataset, tmp_path / "out", "--max_train_epochs", "5", "--save_every_n_epochs", "1",
                  "--save_last_n_epochs", "2")  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "last-000003.safetensors", "last-000004.safetensors", "last.safetensors",
    ]  # fmt: skip


def test_bf16_trains_and_saves_in_bf16(dataset: Path, tmp_path: Path) -> None:
    events = train_quickly(dataset, tmp_path / "out", "--mixed_precision", "bf16", "--max_train_steps", "2",
                           "--lr_scheduler", "cosine", "--network_args", "train_blocks=single")  # fmt: skip
    tensors = open_lora(tmp_path / "out" / "last.safetensors").tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert all("single_blocks" in key for key in tensors)
    assert [event["lr"] for event in kinds(events, "step")] == pytest.approx([2e-3, 1e-3])


def test_a_training_goes_on_from_weights(
    whole: tuple[Path, list[dict[str, Any]]], dataset: Path, tmp_path: Path
) -> None:
    lora = str(whole[0] / "cat.safetensors")
    train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--unet_lr", "1e-30",
                  "--network_weights", lora, "--network_dim", "8")  # fmt: skip
    before, after = load_file(lora), load_file(tmp_path / "out" / "last.safetensors")
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", "FLUX LoRA, diffusers' layout"),
        ("lora_unet_down_blocks_0_attentions_0.lora_down.weight", "LoRA of Stable Diffusion"),
        ("text_model.encoder.layers.0.layer_norm1.weight", "CLIP text encoder"),
        ("w", "kind not known"),
    ],
    ids=["diffusers", "another model", "no LoRA", "unknown"],
)
def test_weights_of_another_layout_are_refused_at_once(dataset: Path, tmp_path: Path, key: str, words: str) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({key: torch.zeros(2, 2)}, path)
    with pytest.raises(FluxgymError, match=f"weights.safetensors cannot be gone on from: .*{words}"):
        settle(options_for(dataset, "--network_weights", str(path)))


def test_a_loss_that_is_not_finite_stops_with_its_step(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = arguments_for(dataset, *QUICK, "--max_train_epochs", "9", "--save_every_n_steps", "1",
                              output_dir=tmp_path / "out")  # fmt: skip
    arguments[arguments.index("--learning_rate") + 1] = "1e15"
    code, events = run_main(monkeypatch, tmp_path, arguments)
    (problem,) = kinds(events, "problem")
    done = len(kinds(events, "step"))
    assert code == ExitCode.FAILED
    assert f"at step {done + 1}" in problem["title"]
    saved = sorted((tmp_path / "out").iterdir())
    assert saved
    assert "last.safetensors" not in [path.name for path in saved]
    assert all(open_lora(path).ranks for path in saved)


def test_too_little_memory_is_said(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Learner, "learn", full)
    code, events = run_main(monkeypatch, tmp_path, arguments_for(dataset, *QUICK, output_dir=tmp_path / "out"))
    (problem,) = kinds(events, "problem")
    assert (code, problem["code"]) == (ExitCode.FAILED, "out_of_memory")
    assert "gradient_checkpointing" in problem["fix"]


def test_samples_that_find_no_memory_do_not_end_the_training(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("fluxgym_tui.trainer.sampler.decode_picture", full)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 1\n", encoding="utf-8")
    events = train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--sample_every_n_steps", "1",
                           "--sample_prompts", str(prompts))  # fmt: skip
    assert [event["code"] for event in kinds(events, "warning")] == ["sample_out_of_memory"]
    assert (tmp_path / "out" / "last.safetensors").is_file()


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"--pretrained_model_name_or_path": "gone.safetensors"}, "gone.safetensors"),
        ({"--ae": "{models}/clip_l.safetensors"}, "--ae"),
        ({"--pretrained_model_name_or_path": "{models}/ae.safetensors"}, "is no FLUX"),
        ({"--dataset_config": "gone.toml"}, "gone.toml"),
        ({"--sample_prompts": "gone.txt"}, "gone.txt"),
        ({"--network_args": "train_blocks"}, "train_blocks"),
        ({"--optimizer_args": "speed=3"}, "speed"),
        ({"--lr_warmup_steps": "5"}, "lr_warmup_steps"),
    ],
    ids=[
        "no model",
        "wrong encoder",
        "wrong model",
        "no dataset",
        "no prompts",
        "no value",
        "no such argument",
        "no effect",
    ],
)
def test_what_cannot_be_used_is_named_at_once(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: dict[str, str], words: str
) -> None:
    arguments = arguments_for(dataset, *QUICK, "--max_train_steps", "1", "--sample_prompts", os.devnull,
                              "--network_args", "train_blocks=all", "--optimizer_args", "eps=1e-8",
                              "--lr_warmup_steps", "0", output_dir=tmp_path / "out")  # fmt: skip
    models = Path(arguments[arguments.index("--ae") + 1]).parent
    for flag, value in replaced.items():
        arguments[arguments.index(flag) + 1] = value.format(models=models)
    code, events = run_main(monkeypatch, tmp_path, arguments)
    (problem,) = kinds(events, "problem")
    assert code == ExitCode.USAGE
    assert words in problem["title"]
    assert not (tmp_path / "out").exists()


def test_a_seed_that_no_generator_takes_is_named(dataset: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"a cat --d {2**64}\n", encoding="utf-8")
    with pytest.raises(FluxgymError, match="too large"):
        settle(options_for(dataset, "--sample_prompts", str(prompts), "--sample_at_first"))


def test_a_folder_that_cannot_be_written_is_named(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("a file stands here", encoding="utf-8")
    arguments = arguments_for(dataset, *QUICK, "--max_train_steps", "1", output_dir=tmp_path / "out")
    code, events = run_main(monkeypatch, tmp_path, arguments)
    (problem,) = kinds(events, "problem")
    assert code == ExitCode.USAGE
    assert f"--output_dir {tmp_path / 'out'}" in problem["title"]
    assert [event["name"] for event in kinds(events, "phase")] == ["prepare"]


def test_a_wrong_flag_is_told_before_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from fluxgym_tui.trainer.__main__ import main;"
        "rc = main(['--learning_rat', '1']); print(rc, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--learning_rat: there is no such flag" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{int(ExitCode.USAGE)} False"


def test_nothing_of_a_file_steers_the_terminal() -> None:
    out = io.StringIO()
    Reporter(out=out).say("a \x1b[31mred\x1b[0m name")
    assert "\x1b" not in out.getvalue()


def test_network_arguments_are_pairs() -> None:
    assert network_arguments(["train_blocks = single"]) == {"train_blocks": "single"}
    with pytest.raises(FluxgymError, match="'train_blocks' has no value"):
        network_arguments(["train_blocks"])
