"""Which pictures are captioned, what is written, and taking it back."""

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.captioner.answers import Answer
from fluxgym_tui.captioner.job import CaptionJob, check
from fluxgym_tui.captioner.journal import new_journal, undo
from fluxgym_tui.captioner.work import run_job, select
from fluxgym_tui.dataset.captions import write_caption
from fluxgym_tui.dataset.scanned import ScannedImage
from tests.captioner.pictures import make_pictures


class Sayer:
    """Says the same of every picture, and can stop or be disturbed after some."""

    def __init__(self, text: str | None = "The image shows a thing", *, stop_after: int = 10**9) -> None:
        self.text = text
        self.stop_after = stop_after
        self.before_each: Callable[[ScannedImage], object] = lambda image: None

    def prepare(self, *, say: Callable[[str], None]) -> None:
        """Nothing to load."""

    def answers(self, images: Sequence[ScannedImage], *, stop: threading.Event) -> Iterator[Answer]:
        """One after the other."""
        for number, image in enumerate(images):
            if number == self.stop_after or stop.is_set():
                return
            self.before_each(image)
            yield Answer(image, self.text, None if self.text else "it is asleep")


@pytest.fixture
def job(tmp_path: Path) -> CaptionJob:
    make_pictures(tmp_path / "photos", "a.png", "b.png", "c.png", "deep/d.png")
    return CaptionJob(folder=tmp_path / "photos", journal=tmp_path / "captions" / "1.jsonl", trigger="hrld")


def run(job: CaptionJob, captioner: Any = None) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    run_job(job, captioner or Sayer(), tell=events.append, stop=threading.Event())
    return events


def text(job: CaptionJob, name: str) -> str:
    return (job.folder / name).read_text(encoding="utf-8")


def test_pictures_without_a_caption_get_one(job: CaptionJob) -> None:
    (job.folder / "b.txt").write_text("mine\n", encoding="utf-8")
    (job.folder / "c.txt").write_text("", encoding="utf-8")
    events = run(job)
    assert text(job, "a.txt") == text(job, "deep/d.txt") == "hrld, a thing\n"
    assert text(job, "b.txt") == "mine\n"
    assert text(job, "c.txt") == ""
    assert [event["kind"] for event in events if event["kind"] != "picture"] == ["start", "phase", "phase", "end"]
    assert events[-1]["outcome"] == "finished"
    assert (events[-1]["written"], events[-1]["kept"], events[-1]["failed"]) == (2, 2, 0)


def test_filling_writes_where_nothing_but_the_trigger_is_said(job: CaptionJob) -> None:
    (job.folder / "a.txt").write_text("Hrld\n", encoding="utf-8")
    (job.folder / "b.txt").write_text("hrld\nbut a second line\n", encoding="utf-8")
    (job.folder / "c.txt").write_bytes(b"\0\1\2")
    run(replace(job, existing="fill"))
    assert text(job, "a.txt") == "hrld, a thing\n"
    assert text(job, "b.txt") == "hrld\nbut a second line\n"
    assert (job.folder / "c.txt").read_bytes() == b"\0\1\2"


def test_replacing_can_be_taken_back_to_the_byte(job: CaptionJob, tmp_path: Path) -> None:
    (job.folder / "a.txt").write_bytes("täglich\r\n".encode("cp1252"))
    (job.folder / "b.txt").write_text("mine", encoding="utf-8")
    run(replace(job, existing="replace"))
    assert text(job, "a.txt") == "hrld, a thing\n"
    (job.folder / "b.txt").write_text("edited since", encoding="utf-8")
    back, kept = undo(tmp_path / "captions", job.folder)
    assert back == 3
    assert kept == [job.folder / "b.txt"]
    assert (job.folder / "a.txt").read_bytes() == "täglich\r\n".encode("cp1252")
    assert not (job.folder / "c.txt").exists()
    with pytest.raises(FluxgymError, match="could be taken back"):
        undo(tmp_path / "captions", job.folder)


def test_a_broken_off_replacement_goes_on_where_it_ended(job: CaptionJob) -> None:
    first = replace(job, existing="replace")
    for name in "abc":
        (job.folder / f"{name}.txt").write_text(f"old {name}\n", encoding="utf-8")
    assert run(first, Sayer(stop_after=2))[-1]["outcome"] == "stopped"
    again = replace(first, journal=job.journal.with_name("2.jsonl"))
    assert [item.path.name for item in select(again).todo] == ["c.txt", "d.txt"]
    other = replace(again, prompt="another question")
    assert len(select(other).todo) == 4
    assert run(again, Sayer(stop_after=1))[-1]["outcome"] == "stopped"
    third = replace(first, journal=job.journal.with_name("2b.jsonl"))
    assert [item.path.name for item in select(third).todo] == ["d.txt"]  # broken off twice, and nothing made twice
    assert run(third)[-1]["written"] == 1
    assert len(select(replace(again, journal=job.journal.with_name("3.jsonl"))).todo) == 4


def test_a_killed_job_leaves_a_journal_that_undo_reads(job: CaptionJob, tmp_path: Path) -> None:
    run(job, Sayer(stop_after=2))
    with job.journal.open("ab") as file:
        file.write(b'{"path": "torn')
    back, kept = undo(tmp_path / "captions", job.folder)
    assert (back, kept) == (2, [])
    assert not list(job.folder.rglob("*.txt"))


def test_a_caption_that_somebody_writes_meanwhile_is_not_overwritten(job: CaptionJob) -> None:
    sayer = Sayer()
    sayer.before_each = lambda image: image.path.with_suffix(".txt").write_text("mine\n", encoding="utf-8")
    events = run(job, sayer)
    assert text(job, "a.txt") == "mine\n"
    assert events[-1]["kept"] == 4


def test_one_that_fails_does_not_stop_the_rest(job: CaptionJob) -> None:
    assert run(job, Sayer(None))[-1]["failed"] == 4
    assert run(job, Sayer("<think>hm</think>"))[-2]["reason"] == "it said nothing"
    assert not list(job.folder.rglob("*.txt"))


def test_two_pictures_of_one_stem_share_one_caption(job: CaptionJob) -> None:
    make_pictures(job.folder, "a.jpg")
    chosen = select(job)
    assert len(chosen.todo) == 4
    assert chosen.kept[0][1] == "it shares its caption with a.jpg"


def test_only_the_pictures_that_were_chosen(job: CaptionJob) -> None:
    chosen = replace(job, only=(job.folder / "b.png",))
    assert CaptionJob.from_text(chosen.to_text()) == chosen
    assert [item.path.name for item in select(chosen).todo] == ["b.txt"]


def test_journals_are_told_apart_by_their_folders(job: CaptionJob, tmp_path: Path) -> None:
    run(job)
    make_pictures(tmp_path / "others", "x.png")
    with pytest.raises(FluxgymError, match="could be taken back"):
        undo(tmp_path / "captions", tmp_path / "others")
    name = new_journal(tmp_path / "captions", tmp_path / "others").name
    assert name.endswith("others.jsonl")


def test_folders_of_one_name_have_journals_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxgym_tui.captioner.journal.time.time", lambda: 1e9)
    journals = tmp_path / "captions"
    for parent in ("one", "two"):
        folder = tmp_path / parent / "photos"
        make_pictures(folder, f"{parent}.png")
        run(CaptionJob(folder=folder, journal=new_journal(journals, folder)))
    assert undo(journals, tmp_path / "one" / "photos") == (1, [])
    assert (tmp_path / "two" / "photos" / "two.txt").is_file()
    assert undo(journals, tmp_path / "two" / "photos") == (1, [])


def test_a_caption_that_cannot_be_read_or_written_is_told_and_the_rest_goes_on(
    job: CaptionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job.folder / "a.txt").mkdir()
    deep = job.folder / "deep"
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != deep)
    real = write_caption

    def write(path: Path, text: str) -> None:
        if path.name == "b.txt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        real(path, text)

    monkeypatch.setattr("fluxgym_tui.captioner.work.write_caption", write)
    events = run(replace(job, existing="replace"))
    reasons = {Path(event["path"]).name: event["reason"] for event in events if event["kind"] == "picture"}
    assert reasons == {
        "a.png": "a.txt cannot be read: Is a directory",
        "b.png": "b.txt cannot be written: Permission denied",
        "c.png": None,
        "d.png": f"nothing can be written into {deep}",
    }
    assert [(event["done"], event["total"]) for event in events if event["kind"] == "picture"] == [
        (1, 4), (2, 4), (3, 4), (4, 4)
    ]  # fmt: skip
    assert (events[-1]["outcome"], events[-1]["failed"], events[-1]["written"]) == ("finished", 3, 1)


def test_what_is_far_too_long_is_no_caption(job: CaptionJob) -> None:
    events = run(job, Sayer("word " * 10_000))
    assert events[-2]["reason"] == "it said 49,999 characters, which is no caption"
    assert not list(job.folder.rglob("*.txt"))


def test_a_trigger_that_is_no_text_is_refused(job: CaptionJob) -> None:
    with pytest.raises(FluxgymError, match="is no UTF-8"):
        check(replace(job, trigger="hr\udcffld"))


def test_a_job_can_be_cancelled_while_its_captioner_gets_ready(job: CaptionJob) -> None:
    ready, stop = threading.Event(), threading.Event()

    class Slow(Sayer):
        def prepare(self, *, say: Callable[[str], None]) -> None:
            say("downloading much")
            stop.set()
            ready.wait(20)

    events: list[dict[str, Any]] = []
    assert run_job(job, Slow(), tell=events.append, stop=stop) == "stopped"
    assert not ready.is_set()
    ready.set()
    assert [event.get("detail") for event in events if event["kind"] == "phase"] == [None, "downloading much"]
    assert events[-1]["outcome"] == "stopped"
    assert not list(job.folder.rglob("*.txt"))


def test_a_folder_that_takes_no_captions_ends_the_job_in_one_line(job: CaptionJob, monkeypatch: Any) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("fluxgym_tui.captioner.work.write_caption", full)
    with pytest.raises(FluxgymError, match="No space left on device"):
        run(job)
