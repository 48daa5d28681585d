"""Florence-2 by transformers' real classes, on a tiny random model."""

import os
import shutil
import socket
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.captioner.florence import Florence
from fluxgym_tui.captioner.job import CaptionJob
from fluxgym_tui.captioner.process import CaptionProcess
from fluxgym_tui.captioner.work import run_job
from tests.captioner.pictures import make_pictures
from tests.captioner.tiny_florence import make_tiny_florence


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("florence")
    make_tiny_florence(folder)
    return folder


def job_of(folder: Path, model: Path, **settings: Any) -> CaptionJob:
    return CaptionJob(
        folder=folder, journal=folder.parent / "j" / "1.jsonl", model=str(model), device="cpu", **settings
    )


def caption(job: CaptionJob, florence: Florence | None = None) -> list[Any]:
    events: list[Any] = []
    run_job(job, florence or Florence(job), tell=events.append, stop=threading.Event())
    return events


def test_pictures_are_captioned_in_batches_as_one_by_one(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "photos"
    make_pictures(folder, "a.png", "b.png", "c.png")
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes()[:60])
    events = caption(job_of(folder, model, batch_size=2))
    assert events[-1]["written"] == 3
    together = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")}
    for path in folder.glob("*.txt"):
        path.unlink()
    assert caption(job_of(folder, model, batch_size=1))[-1]["written"] == 3
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")} == together


def test_the_style_is_the_models_own_task(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    job = job_of(tmp_path / "photos", model, style="long")
    florence = Florence(job)
    florence.prepare(say=print)
    seen: list[list[str]] = []
    processor = florence._processor

    class Spy:
        def __call__(self, **inputs: Any) -> Any:
            seen.append(inputs["text"])
            return processor(**inputs)

        def batch_decode(self, *args: Any, **options: Any) -> Any:
            return processor.batch_decode(*args, **options)

    florence._processor = Spy()
    monkeypatch.setattr(florence, "prepare", lambda *, say: None)
    caption(job, florence)
    assert seen == [["<MORE_DETAILED_CAPTION>"]]


def test_out_of_memory_halves_the_batch_for_good(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    make_pictures(tmp_path / "photos", *(f"{number}.png" for number in range(8)))
    sizes: list[int] = []

    def generate(self: Florence, pictures: list[Any]) -> list[str]:
        sizes.append(len(pictures))
        if len(pictures) > 2:
            raise torch.OutOfMemoryError("as the card says it")
        return ["A thing"] * len(pictures)

    monkeypatch.setattr(Florence, "_generate", generate)
    assert caption(job_of(tmp_path / "photos", model, batch_size=6))[-1]["written"] == 8
    assert sizes == [6, 3, 1, 2, 3, 1, 2, 1, 1]


def test_what_did_not_fit_is_let_go_before_the_halves_are_tried(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    make_pictures(tmp_path / "photos", "a.png", "b.png")
    held: list[weakref.ref[Any]] = []

    def generate(self: Florence, pictures: list[Any]) -> list[str]:
        tensor = torch.zeros(1)
        assert all(earlier() is None for earlier in held)
        held.append(weakref.ref(tensor))
        if len(pictures) > 1:
            raise torch.OutOfMemoryError("as the card says it")
        return ["A thing"]

    monkeypatch.setattr(Florence, "_generate", generate)
    assert caption(job_of(tmp_path / "photos", model, batch_size=2))[-1]["written"] == 2
    assert len(held) == 3


@pytest.mark.parametrize("bytes_left", [0, 60, 100_000])
def test_a_model_that_came_half_is_told_in_a_line(tmp_path: Path, model: Path, bytes_left: int) -> None:
    half = tmp_path / "half"
    shutil.copytree(model, half)
    (half / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:bytes_left])
    make_pictures(tmp_path / "photos", "a.png")
    with pytest.raises(FluxgymError, match="cannot load") as refused:
        caption(job_of(tmp_path / "photos", half))
    assert "\n" not in refused.value.message


def test_a_model_of_the_cache_is_taken_without_asking_the_hub(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    repo = tmp_path / "cache" / "models--me--florence"
    shutil.copytree(model, repo / "snapshots" / "abc")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc", encoding="utf-8")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"), raising=False)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: pytest.fail("the hub was asked"))
    make_pictures(tmp_path / "photos", "a.png")
    assert caption(job_of(tmp_path / "photos", Path("me/florence")))[-1]["written"] == 1


async def test_a_hub_that_does_not_answer_is_told_within_seconds(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    job = job_of(tmp_path / "photos", Path("nobody/nothing"))
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        env = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_OFFLINE": "0"}
        process = await CaptionProcess.start(job, env={**env, "NO_PROXY": "127.0.0.1"})
        began = time.monotonic()
        events = [event async for event in process.events()]
    assert time.monotonic() - began < 40  # most of it imports; transformers alone would ask for minutes
    assert events[-1]["reason"].startswith(f"cannot download nobody/nothing: no answer from {address}")


async def test_its_own_process_tells_of_a_model_that_is_not_there(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    job = job_of(tmp_path / "photos", Path("nobody/nothing"))
    process = await CaptionProcess.start(job, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    events = [event async for event in process.events()]
    assert [event["kind"] for event in events] == ["start", "phase", "end"]
    assert events[-1]["reason"] == "cannot download nobody/nothing: HF_HUB_OFFLINE is set"
    assert events[-1]["code"] == ExitCode.FAILED


def test_a_folder_that_is_not_there_is_no_repository(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    with pytest.raises(FluxgymError, match="there is no such folder"):
        caption(job_of(tmp_path / "photos", tmp_path / "none"))


def test_without_its_optional_part_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    make_pictures(tmp_path / "photos", "a.png")
    with pytest.raises(FluxgymError, match="transformers") as refused:
        caption(job_of(tmp_path / "photos", tmp_path))
    assert refused.value.code is ExitCode.MISSING_EXTRA
    assert "fluxgym-tui[caption]" in str(refused.value)
