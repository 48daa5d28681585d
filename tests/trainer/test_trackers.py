"""What trackers are given: sd-scripts' names and numbers, in files that TensorBoard reads."""

import struct
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.flags import check
from fluxgym_tui.trainer.learner import Learned
from fluxgym_tui.trainer.lora import create_lora
from fluxgym_tui.trainer.tfevents import ScalarFile, crc32c
from fluxgym_tui.trainer.trackers import step_values
from tests.trainer.parity import tiny_flux
from tests.trainer.test_network_args import grown, loss
from tests.trainer.trainer_options import drawn_dataset, kinds, read_events, train_quickly, train_uncached

Scalars = dict[str, list[tuple[int, Any]]]


def read_scalars(path: Path) -> Scalars:
    """The scalars of an event file by tag, each with its x; every checksum is checked.

    A reader of its own, from the format's description: it shares no code with the writer but the checksum's.
    """
    data, found, at = path.read_bytes(), Scalars(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = data[at + 12 : at + 12 + length]
        for content, place in ((data[at : at + 8], at + 8), (event, at + 12 + length)):
            crc = crc32c(content)
            masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack_from("<I", data, place) == (masked,)
        fields = read_fields(event)
        step = fields.get(2, [0])[0]
        for summary in fields.get(5, []):
            for value in read_fields(summary).get(1, []):
                parts = read_fields(value)
                found.setdefault(parts[1][0].decode("utf-8"), []).append((step, parts[2][0]))
        at += 16 + length
    return found


def read_fields(message: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer by number."""
    fields: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(message):
        key = varint()
        value: Any
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 1:
            (value,) = struct.unpack_from("<d", message, at)
            at += 8
        elif key & 7 == 2:
            size = varint()
            value = message[at : at + size]
            at += size
        else:
            (value,) = struct.unpack_from("<f", message, at)
            at += 4
        fields.setdefault(key >> 3, []).append(value)
    return fields


def test_the_checksum_is_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # of RFC 3720's check value


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = ScalarFile(tmp_path / "a" / "b")
    file.write({"loss/current": 0.5, "lr/textencoder 1 ": 1e-4}, step=300)
    file.write({"loss/current": float("nan")}, step=2**33)
    file.close()
    (path,) = (tmp_path / "a" / "b").iterdir()
    found = read_scalars(path)
    assert found["lr/textencoder 1 "] == [(300, pytest.approx(1e-4))]
    assert [x for x, _ in found["loss/current"]] == [300, 2**33]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("data"), pictures=3)


def test_a_training_is_tracked_under_sd_scripts_names(dataset: Path, tmp_path: Path) -> None:
    events = train_quickly(
        dataset, tmp_path / "out", "--max_train_epochs", "2", "--logging_dir", str(tmp_path / "logs"),
        "--log_prefix", "cat-", "--validation_split", "0.34", "--validate_every_n_steps", "3",
    )  # fmt: skip
    (folder,) = (tmp_path / "logs").iterdir()
    assert folder.name.startswith("cat-2")
    assert len(folder.name) == len("cat-") + 14
    (path,) = (folder / "network_train").iterdir()
    found = read_scalars(path)
    steps = kinds(events, "step")
    assert found["loss/current"] == [(event["step"], pytest.approx(event["loss"])) for event in steps]
    assert found["loss/average"] == [(event["step"], pytest.approx(event["avg_loss"])) for event in steps]
    assert found["lr/unet"] == found["lr/group0"] == [(step, pytest.approx(2e-3)) for step in range(1, 5)]
    assert [x for x, _ in found["loss/epoch_average"]] == [1, 2]
    validated = kinds(events, "validation")
    assert [x for x, _ in found["loss/validation/epoch_average"]] == [1, 2]
    assert found["loss/validation/step_average"] == [(3, pytest.approx(validated[1]["loss"]))]
    apart = validated[1]["loss"] - validated[1]["avg_loss"]
    assert found["loss/validation/step_divergence"] == [(3, pytest.approx(apart, rel=1e-5))]
    assert all(value > 0 for _, value in found["norm/avg_grad_norm"])
    assert "lr/textencoder" not in found


def test_clip_and_prodigy_have_numbers_of_their_own(dataset: Path, tmp_path: Path) -> None:
    assert step_values(
        Learned(0.5, 0.25, {"textencoder 1 ": 1e-4, "unet": 2e-4}), unet_only=False
    ) == {
        "loss/current": 0.5, "loss/average": 0.25, "lr/textencoder 1 ": 1e-4, "lr/unet": 2e-4,
        "lr/textencoder": 1e-4, "lr/group1": 2e-4,
    }  # fmt: skip
    train_quickly(
        dataset, tmp_path / "out", "--max_train_steps", "1", "--logging_dir", str(tmp_path / "logs"),
        "--optimizer_type", "Prodigy", "--unet_lr", "1", "--scale_weight_norms", "0.5",
        "--log_with", "tensorboard", "--log_tracker_name", "mine",
    )  # fmt: skip
    (path,) = (tmp_path / "logs").glob("*/mine/*")
    found = read_scalars(path)
    assert found["lr/d*lr/unet"] == found["lr/d*lr/group0"] == [(1, pytest.approx(1e-6, rel=1e-3))]
    assert found["max_norm/keys_scaled"] == [(1, 0)]
    assert 0 < found["norm/avg_key_norm"][0][1] <= found["max_norm/max_key_norm"][0][1] < 0.5


def test_the_gradients_norm_is_that_of_the_formula() -> None:
    model = tiny_flux()
    network = grown(model, network_dim=3, network_alpha=2.0)
    assert network.average_gradient_norm() is None
    loss(model).backward()  # type: ignore[no-untyped-call]
    parts = dict(network.named_parameters())
    means = []
    for name in network.layers:
        down, up = parts[f"layers.{name}.down"], parts[f"layers.{name}.up"]
        assert down.grad is not None
        assert up.grad is not None
        means.append(((up.detach() @ down.grad + up.grad @ down.detach()) * (2 / 3)).norm(dim=1).mean())
    assert network.average_gradient_norm() == pytest.approx(torch.stack(means).mean().item(), rel=1e-4)


class StandInForWandb(types.ModuleType):
    """Takes the place of wandb, which would want its server: it keeps what it is given."""

    class Error(Exception):
        """What wandb raises, without a login for example."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: dict[str, Any] = {}
        self.logged: list[dict[str, Any]] = []
        self.metrics: list[str] = []
        self.finished = False

    def init(self, **settings: Any) -> "StandInForWandb":
        self.begun = settings
        return self

    def define_metric(self, name: str, *, hidden: bool) -> None:
        assert hidden
        self.metrics.append(name)

    def log(self, values: dict[str, Any], *, commit: bool = True) -> None:
        self.logged.append(values | {"commit": commit})

    def finish(self) -> None:
        self.finished = True

    def Image(self, path: str, *, caption: str) -> tuple[str, str]:  # noqa: N802 - wandb's own name
        return path, caption


def test_wandb_is_given_numbers_and_pictures(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = StandInForWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.setenv("WANDB_DIR", "elsewhere")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 1\n", encoding="utf-8")
    train_uncached(
        dataset, tmp_path / "out", "--max_train_steps", "2", "--log_with", "all", "--wandb_run_name", "cat",
        "--logging_dir", str(tmp_path / "logs"), "--sample_prompts", str(prompts), "--sample_every_n_steps", "1",
    )  # fmt: skip
    assert wandb.begun == {"project": "network_train", "name": "cat"}
    assert wandb.metrics == ["epoch", "val_step", "global_step"]
    steps = [entry for entry in wandb.logged if "loss/current" in entry]
    assert [(entry["global_step"], entry["epoch"]) for entry in steps] == [(1, 1), (2, 1)]
    pictures = [entry["sample_0"] for entry in wandb.logged if "sample_0" in entry]
    assert [caption for _, caption in pictures] == ["a cat", "a cat"]
    assert all(Path(path).is_file() for path, _ in pictures)
    assert wandb.finished
    assert len(list((tmp_path / "logs").glob("*/network_train/events.*"))) == 1


def test_a_table_of_settings_goes_to_wandb(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = StandInForWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    table = tmp_path / "wandb.toml"
    table.write_text("[wandb]\nname = 'dog'\ntags = ['a']\n", encoding="utf-8")
    flags = ("--max_train_steps", "1", "--log_with", "wandb", "--log_tracker_config", str(table))
    train_quickly(dataset, tmp_path / "out", *flags, "--log_tracker_name", "pets")
    assert wandb.begun == {"project": "pets", "name": "dog", "tags": ["a"]}
    for text, words in (("[tensorboard]\n", "tensorboard"), ("no", "cannot be read")):
        table.write_text(text, encoding="utf-8")
        with pytest.raises(FluxgymError, match=words):
            train_quickly(dataset, tmp_path / "out", *flags)


def test_a_login_that_is_lacking_is_named(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = StandInForWandb()

    def refused(**_: object) -> None:
        raise wandb.Error("api_key not configured (no-tty).\nmore")

    monkeypatch.setattr(wandb, "init", refused)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with pytest.raises(FluxgymError, match="does not begin a run: api_key not configured") as caught:
        train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--log_with", "wandb")
    assert "more" not in caught.value.message
    assert "wandb login" in str(caught.value.hint)


def test_a_logging_dir_that_cannot_be_written_is_named_at_once(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file", encoding="utf-8")
    with pytest.raises(FluxgymError, match=r"--logging_dir .*logs cannot be written"):
        train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--logging_dir", str(tmp_path / "logs"))
    assert [event["name"] for event in read_events(tmp_path / "out.jsonl")] == ["prepare"]


def test_wandb_that_is_not_installed_is_named(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(FluxgymError, match="needs the package wandb") as refused:
        train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--log_with", "wandb")
    assert refused.value.code is ExitCode.MISSING_EXTRA
    assert "pip install wandb" in str(refused.value.hint)
    assert not (tmp_path / "out").exists()


def test_a_tracker_whose_disk_is_full_does_not_end_the_training(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ScalarFile, "write", full)
    events = train_quickly(dataset, tmp_path / "out", "--max_train_steps", "2", "--logging_dir", str(tmp_path / "logs"))
    assert [event["code"] for event in kinds(events, "warning")] == ["tracking_lost"]
    assert (tmp_path / "out" / "last.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log_with", "tensorboard"], "--logging_dir is not given"),
        (["--log_prefix", "a"], "without --logging_dir"),
        (["--log_tracker_name", "a"], "nothing is tracked"),
        (["--wandb_run_name", "a"], "without --log_with wandb"),
        (["--log_tracker_config", "a"], "without --log_with wandb"),
        (["--log_with", "wandb", "--log_tracker_config", "a", "--wandb_run_name", "a"], "beside --log_tracker_config"),
        (["--wandb_api_key", "secret"], "no place for a secret"),
    ],
)
def test_what_would_track_nothing_is_refused(arguments: list[str], words: str) -> None:
    (problem,) = check(arguments)
    assert words in problem.message
    assert "secret'" not in problem.message


def test_nothing_is_measured_for_nobody() -> None:
    network = create_lora(tiny_flux())
    assert network.average_gradient_norm() is None
