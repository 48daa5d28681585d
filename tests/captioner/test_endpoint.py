"""The endpoint captioner against a stand-in server: failures, garbage, Unicode, a thousand pictures."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.captioner.endpoint import Endpoint, base_url
from fluxgym_tui.captioner.job import KEY_VARIABLE, CaptionJob
from fluxgym_tui.captioner.work import run_job
from tests.captioner.chat_standin import ChatStandin, chat_standin
from tests.captioner.pictures import make_pictures


def caption(server: ChatStandin, folder: Path, *, stop: threading.Event | None = None, **settings: Any) -> list[Any]:
    """The events of a whole job; pauses are short, everything else is as users have it."""
    job = CaptionJob(
        folder=folder, journal=folder.parent / "j" / "1.jsonl", method="endpoint", **{"url": server.url, **settings}
    )
    events: list[Any] = []
    run_job(job, Endpoint(job, first_wait_s=0.001), tell=events.append, stop=stop or threading.Event())
    return events


def reasons(events: list[Any]) -> list[str]:
    return [event["reason"] for event in events if event["kind"] == "picture" and event["outcome"] == "failed"]


def test_pictures_go_out_upright_and_small_and_captions_come_in(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3000, 1000)).save(folder / "a.jpg", exif=exif)
    with chat_standin(script=lambda number: "In this image, we can see ein Bär 🐻 im Schnee 雪") as server:
        caption(server, folder, trigger="bär", prompt="What does {trigger} do?")
    assert (folder / "a.txt").read_text(encoding="utf-8") == "bär, ein 🐻 im Schnee 雪\n"
    assert server.pictures == [(341, 1023)]
    assert server.asked[0]["model"] == "sees-all"
    assert server.asked[0]["messages"][0]["content"][0]["text"] == "What does bär do?"


def test_what_passes_is_asked_again(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    answers: list[Any] = [500, 503, b"<html>garbage", b'{"choices": []}', "A thing"]
    with chat_standin(script=lambda number: answers[number]) as server:
        events = caption(server, tmp_path / "photos")
    assert events[-1]["written"] == 1
    assert len(server.asked) == 5


def test_a_server_that_asks_for_time_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    waits: list[float | None] = []

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        waits.append(timeout)
        return False

    monkeypatch.setattr("fluxgym_tui.captioner.work._Either.wait", wait)
    with chat_standin(script=lambda number: 429 if number == 0 else "A thing", retry_after="7") as server:
        assert caption(server, tmp_path / "photos")[-1]["written"] == 1
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (500, "the endpoint said 500"),
        (400, "the endpoint refused it: 400 Bad Request: as the test wants it"),
        (302, "the endpoint refused it: 302"),
        (b"\xff\xfe\x00 no json", "the endpoint's answer is no JSON"),
        (b'{"choices": [{"message": {"content": null}}]}', "the endpoint answered with nothing"),
        (b"[]", "the endpoint's answer holds no message"),
        ("", "the endpoint answered with nothing"),
    ],
)
def test_one_bad_answer_is_told_and_the_rest_goes_on(tmp_path: Path, said: Any, reason: str) -> None:
    make_pictures(tmp_path / "photos", "a.png", "b.png")
    with chat_standin(script=lambda number: said if number == 0 else "A thing") as server:
        events = caption(server, tmp_path / "photos", retries=0, concurrency=1)
    assert reasons(events)[0].startswith(reason)
    assert events[-1]["written"] == 1


def test_no_answer_in_time_is_told(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    with chat_standin(script=lambda number: None) as server:
        events = caption(server, tmp_path / "photos", retries=0, timeout_s=0.2)
    assert reasons(events) == ["no answer in time"]


def test_an_answer_that_only_trickles_in_is_not_waited_for(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    began = time.monotonic()
    with chat_standin(trickle_s=0.05) as server:
        events = caption(server, tmp_path / "photos", timeout_s=0.3, retries=0, model="sees-all")
    assert reasons(events) == ["no answer in time"]
    assert time.monotonic() - began < 5


def test_a_picture_that_cannot_be_decoded_is_not_asked_about(tmp_path: Path) -> None:
    (good,) = make_pictures(tmp_path / "photos", "a.png")
    whole = good.read_bytes()
    broken = whole.replace(b"IDAT", b"IDAT", 1)
    at = broken.index(b"IDAT") + 6
    (tmp_path / "photos" / "b.png").write_bytes(broken[:at] + b"\0\0\0\0" + broken[at + 4 :])
    with chat_standin() as server:
        events = caption(server, tmp_path / "photos")
    assert len(server.asked) == 1
    assert reasons(events)[0].startswith("it cannot be decoded")


def test_the_key_goes_to_the_server_and_into_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    monkeypatch.setenv(KEY_VARIABLE, "sk-very-secret")
    with chat_standin(key="sk-very-secret") as server:
        events = caption(server, tmp_path / "photos")
        assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
        monkeypatch.setenv(KEY_VARIABLE, "sk-other")
        (tmp_path / "photos" / "a.txt").unlink()
        with pytest.raises(FluxgymError, match=r"refused: 401 .*no such key") as refused:
            caption(server, tmp_path / "photos")
        monkeypatch.delenv(KEY_VARIABLE)
        with pytest.raises(FluxgymError, match="It wants a key"):
            caption(server, tmp_path / "photos")
    assert "sk-" not in str(events) + str(refused.value)
    assert not any(b"sk-" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_key_that_no_header_takes_is_refused_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    monkeypatch.setenv(KEY_VARIABLE, "sk-sécret\r\nX: y")
    with chat_standin() as server, pytest.raises(FluxgymError, match="a character that no key has") as refused:
        caption(server, tmp_path / "photos")
    assert "sécret" not in str(refused.value)


def test_a_server_with_several_models_wants_one_named(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    with chat_standin(models=["qwen", "joy"]) as server:
        with pytest.raises(FluxgymError, match="It has: qwen, joy"):
            caption(server, tmp_path / "photos")
        assert caption(server, tmp_path / "photos", model="joy")[-1]["written"] == 1
    assert server.asked[0]["model"] == "joy"


def test_nobody_there_is_told_before_any_picture(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    with chat_standin() as server:
        pass
    with pytest.raises(FluxgymError, match=r"no answer from .*Connection refused"):
        caption(server, tmp_path / "photos")


def test_a_server_that_dies_on_the_way_ends_the_job(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", *(f"{number:03}.png" for number in range(60)))
    with chat_standin(script=lambda number: "A thing" if number < 3 else None) as server:
        server.release.set()  # from the fourth on, every connection is closed without a word
        with pytest.raises(FluxgymError, match="does not answer any more"):
            caption(server, tmp_path / "photos", retries=1, concurrency=2)
    assert 3 <= len(list((tmp_path / "photos").glob("*.txt"))) < 10


def test_a_cancelled_job_ends_soon_and_keeps_what_came(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", *(f"{number}.png" for number in range(8)))
    stop = threading.Event()

    def script(number: int) -> str | int:
        if number == 2:
            stop.set()
        return "A thing" if number < 3 else 500

    with chat_standin(script=script) as server:
        events = caption(server, tmp_path / "photos", stop=stop, concurrency=1)
    assert events[-1]["outcome"] == "stopped"
    assert len(server.asked) == len(list((tmp_path / "photos").glob("*.txt"))) == 3


def test_a_thousand_pictures_several_at_once_some_failing(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", *(f"{number:04}.png" for number in range(1000)))

    def script(number: int) -> str | int:
        return 500 if number % 97 == 0 else f"The image shows number {number}"

    with chat_standin(script=script) as server:
        server.slow_s = 0.001
        events = caption(server, tmp_path / "photos", concurrency=8, trigger="hrld")
    assert events[-1] | {"time": 0} == {
        "kind": "end", "schema": 1, "time": 0, "outcome": "finished", "written": 1000, "failed": 0, "kept": 0,
        "reason": None,
    }  # fmt: skip
    captions = [path.read_text(encoding="utf-8") for path in (tmp_path / "photos").glob("*.txt")]
    assert len(set(captions)) == 1000
    assert all(caption.startswith("hrld, number ") for caption in captions)
    assert 2 <= server.most_at_once <= 8


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://h:1/v1", "http://h:1/v1"),
        ("http://h:1/v1/", "http://h:1/v1"),
        ("http://h:1", "http://h:1/v1"),
        ("https://h/api/v1/chat/completions", "https://h/api/v1"),
    ],
)
def test_an_address_is_taken_however_it_is_written(given: str, base: str) -> None:
    assert base_url(given) == base


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "file:///etc/passwd", "http://", "http://user:secret@h/v1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(FluxgymError) as refused:
        base_url(url)
    assert "secret" not in str(refused.value)
