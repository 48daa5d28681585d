"""States: a training that was stopped and resumed, twice, is bit for bit the one that never stopped."""

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import StepEvent
from fluxgym_tui.trainer.loop import train
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.sample import sample_latents
from fluxgym_tui.trainer.setup import settle
from fluxgym_tui.trainer.state import TrainState, join_optimizer, read_state, split_optimizer, write_state
from fluxgym_tui.trainer.stopping import Stopped, StopRequest
from tests.trainer.trainer_options import QUICK, drawn_dataset, kinds, options_for, read_events, train_quickly

LONG = ("--max_train_epochs", "3", "--save_state")
SCHEDULE = ("--lr_scheduler", "cosine", "--lr_warmup_steps", "2")
ADAFACTOR = ("--optimizer_type", "Adafactor", "--optimizer_args", "relative_step=False", "scale_parameter=False",
             "warmup_init=False")  # fmt: skip
OWN_RATE = ("--optimizer_type", "Adafactor", "--network_dim", "5")
PRODIGY = ("--optimizer_type", "Prodigy", "--unet_lr", "1", "--optimizer_args", "d0=1e-4")
EIGHT_BIT = ("--optimizer_type", "PagedAdamW8bit", "--network_dim", "32")  # smaller matrices stay in 32 bits
DROPOUT = ("--network_dropout", "0.2", "--ip_noise_gamma", "0.1", "--ip_noise_gamma_random_strength",
           "--network_args", "rank_dropout=0.2", "module_dropout=0.3", "loraplus_lr_ratio=4")  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn pictures, trained one by one."""
    return drawn_dataset(tmp_path_factory.mktemp("dataset"))


class InterruptedAfter(Reporter):
    """A reporter in whose process SIGINT arrives when a step is done."""

    def __init__(self, step: int, events_path: Path) -> None:
        super().__init__(events_path=events_path, out=io.StringIO())
        self._stop_step = step

    def step(self, event: StepEvent, *, first: int) -> None:
        super().step(event, first=first)
        if event.step == self._stop_step:
            signal.raise_signal(signal.SIGINT)


def train_until(dataset: Path, folder: Path, *flags: str, step: int) -> Path:
    """Train into `folder` until SIGINT after `step`; the state that this leaves."""
    stop, report = StopRequest(), InterruptedAfter(step, folder.parent / f"{folder.name}-{step}.jsonl")
    stop.listen()
    with pytest.raises(Stopped, match="SIGINT"):
        train(options_for(dataset, *QUICK, *flags, output_dir=folder), report=report, stop=stop)
    report.close()
    return folder / f"last-step{step:08d}-state"


@pytest.mark.usefixtures("signals", "one_thread")
@pytest.mark.parametrize(
    "optimizer",
    [(), ADAFACTOR, OWN_RATE, DROPOUT, PRODIGY, EIGHT_BIT],
    ids=["AdamW", "Adafactor", "its own rate", "dropout and LoRA+", "Prodigy", "eight bits"],
)
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU:UserWarning")
def test_stopped_twice_is_never_stopped(dataset: Path, tmp_path: Path, optimizer: tuple[str, ...]) -> None:
    schedule = () if optimizer is OWN_RATE else SCHEDULE
    flags = (*LONG, *schedule, *optimizer)
    whole = kinds(train_quickly(dataset, tmp_path / "whole", *flags), "step")

    first = train_until(dataset, tmp_path / "parts", *flags, step=2)
    second = train_until(dataset, tmp_path / "parts", *flags, "--resume", str(first), step=6)
    rest = train_quickly(dataset, tmp_path / "parts", *flags, "--resume", str(second))

    parts = [
        step for name in ("parts-2.jsonl", "parts-6.jsonl") for step in kinds(read_events(tmp_path / name), "step")
    ] + kinds(rest, "step")
    told = ("step", "total", "epoch", "loss", "avg_loss", "lr")
    assert [[step[name] for name in told] for step in parts] == [[step[name] for name in told] for step in whole]
    one, other = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    state, resumed = (read_state(tmp_path / name / "last-state") for name in ("whole", "parts"))
    assert state.numbers == resumed.numbers
    assert all(torch.equal(state.tensors[key], resumed.tensors[key]) for key in state.tensors)


@pytest.mark.usefixtures("signals")
def test_a_stop_while_sampling_saves_the_state_too(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 8\n", encoding="utf-8")

    def interrupted(*args: Any, **named: Any) -> Iterator[torch.Tensor]:
        for state in sample_latents(*args, **named):
            signal.raise_signal(signal.SIGTERM)
            yield state

    monkeypatch.setattr("fluxgym_tui.trainer.sampler.sample_latents", interrupted)
    options = options_for(dataset, *QUICK, *LONG, "--sample_prompts", str(prompts), "--sample_every_n_steps", "4",
                          output_dir=tmp_path / "out")  # fmt: skip
    stop = StopRequest()
    stop.listen()
    with pytest.raises(Stopped, match="SIGTERM"):
        train(options, report=Reporter(out=io.StringIO()), stop=stop)
    assert read_state(tmp_path / "out" / "last-step00000004-state").step == 4
    assert list((tmp_path / "out" / "sample").glob("*.png")) == []


def test_states_come_with_checkpoints_and_old_ones_go(dataset: Path, tmp_path: Path) -> None:
    train_quickly(dataset, tmp_path / "out", "--max_train_epochs", "4", "--save_every_n_epochs", "1", "--save_state",
                  "--save_last_n_epochs_state", "1")  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "last-000001.safetensors", "last-000002.safetensors", "last-000003-state", "last-000003.safetensors",
        "last-state", "last.safetensors",
    ]  # fmt: skip


def test_a_state_may_be_trained_on_for_longer(dataset: Path, tmp_path: Path) -> None:
    train_quickly(dataset, tmp_path / "short", "--max_train_epochs", "1", "--save_state_on_train_end")
    events = train_quickly(
        dataset, tmp_path / "long", "--max_train_epochs", "2", "--resume", str(tmp_path / "short" / "last-state")
    )
    train_quickly(dataset, tmp_path / "once", "--max_train_epochs", "2")
    assert [event["step"] for event in kinds(events, "step")] == [4, 5, 6]
    one, other = (load_file(tmp_path / name / "last.safetensors") for name in ("long", "once"))
    assert all(torch.allclose(one[key], other[key], atol=1e-6) for key in one)


@pytest.fixture(scope="module")
def state(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a training of one epoch."""
    folder = tmp_path_factory.mktemp("state") / "out"
    train_quickly(dataset, folder, "--max_train_epochs", "1", "--save_state_on_train_end")
    return folder / "last-state"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--max_train_epochs", "1"), "has made 3 steps"),
        (("--max_train_epochs", "2", "--train_batch_size", "2"), "batches an epoch"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    dataset: Path, state: Path, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    toml = tmp_path / "dataset.toml"
    toml.write_text(dataset.read_text(encoding="utf-8").replace("batch_size = 1\n", ""), encoding="utf-8")
    with pytest.raises(FluxgymError, match=words):
        settle(options_for(toml, *QUICK, *flags, "--resume", str(state)))


def test_another_seed_or_optimizer_is_refused(dataset: Path, state: Path, tmp_path: Path) -> None:
    resumed = ("--max_train_epochs", "2", "--resume", str(state))
    with pytest.raises(FluxgymError, match="seed 1, not 2"):
        settle(options_for(dataset, *resumed, "--seed", "2"))
    assert settle(options_for(dataset, *resumed)).seed == 1
    with pytest.raises(FluxgymError, match="not Adafactor"):
        train_quickly(dataset, tmp_path / "out", *resumed, *ADAFACTOR)


def test_what_is_no_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match="no state of a training"):
        read_state(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(FluxgymError, match="sd-scripts"):
        read_state(tmp_path)


def test_a_state_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(step: int) -> TrainState:
        return TrainState(step=step, epoch=1, seed=0, batches_per_epoch=3, losses=(0.5,), numbers={}, tensors={})

    write_state(tmp_path / "a-state", written(1))
    write_state(tmp_path / "a-state", written(2))
    assert [path.name for path in tmp_path.iterdir()] == ["a-state"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fluxgym_tui.trainer.state.write_atomic", full)
    with pytest.raises(FluxgymError, match="No space left"):
        write_state(tmp_path / "a-state", written(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a-state"]
    assert read_state(tmp_path / "a-state").step == 2


def test_states_within_states_come_back() -> None:
    """As bitsandbytes has them."""
    packed: dict[int, dict[str, Any]] = {
        0: {"step": 3, "pack": {"state1": torch.arange(3), "unorm_vec": None}},
        1: {"z": torch.ones(2)},
    }
    tensors, numbers = split_optimizer(packed)
    assert numbers == {"0.step": 3, "0.pack.unorm_vec": None}
    again = join_optimizer(tensors, numbers)
    assert again.keys() == packed.keys()
    assert again[0]["pack"].keys() == packed[0]["pack"].keys()
    assert torch.equal(again[0]["pack"]["state1"], torch.arange(3))


@pytest.mark.usefixtures("signals", "one_thread")
def test_a_schedule_free_training_saves_its_averages_and_goes_on(dataset: Path, tmp_path: Path) -> None:
    flags = ("--max_train_epochs", "3", "--save_every_n_epochs", "1", "--save_state",
             "--optimizer_type", "AdamWScheduleFree")  # fmt: skip
    train_quickly(dataset, tmp_path / "whole", *flags)
    stopped = train_until(dataset, tmp_path / "parts", *flags, step=4)
    train_quickly(dataset, tmp_path / "parts", *flags, "--resume", str(stopped))
    whole, parts = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    state = load_file(tmp_path / "whole" / "last-state" / "state.safetensors")
    ups = [key for key in whole if key.endswith("lora_up.weight")]
    assert all(not torch.equal(whole[key], state[f"lora.{key}"]) for key in ups)
    train_quickly(dataset, tmp_path / "bare", "--max_train_epochs", "3", "--optimizer_type", "AdamWScheduleFree")
    bare = load_file(tmp_path / "bare" / "last.safetensors")
    assert all(torch.equal(whole[key], bare[key]) for key in whole)  # saving on the way changes nothing


def test_a_state_with_loraplus_needs_loraplus(dataset: Path, tmp_path: Path) -> None:
    plus = ("--network_args", "loraplus_lr_ratio=4")
    train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--save_state", *plus)
    state = str(tmp_path / "out" / "last-state")
    with pytest.raises(FluxgymError, match=r"is of a training with LoRA\+"):
        train_quickly(dataset, tmp_path / "more", "--max_train_steps", "2", "--resume", state)
