"""Captions by a program."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.captioner.command import Command
from fluxgym_tui.captioner.job import KEY_VARIABLE, CaptionJob
from fluxgym_tui.captioner.work import run_job
from tests.captioner.pictures import make_pictures


def until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def caption(
    folder: Path, program: str, *, words: str = "", stop: threading.Event | None = None, **settings: Any
) -> list[Any]:
    script = folder.parent / "program.py"
    script.write_text(program, encoding="utf-8")
    job = CaptionJob(
        folder=folder,
        journal=folder.parent / "j" / "1.jsonl",
        method="command",
        command=f"{sys.executable} {script} {words}",
        **settings,
    )
    events: list[Any] = []
    run_job(job, Command(job), tell=events.append, stop=stop or threading.Event())
    return events


def test_the_path_goes_in_and_the_caption_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret")
    folder = tmp_path / "my 'odd' photos"
    make_pictures(folder, "ä b.png")
    program = (
        "import os, sys\n"
        f"assert {KEY_VARIABLE!r} not in os.environ\n"
        "words = [sys.argv[1], os.path.basename(sys.argv[2]), os.environ['FLUXGYM_PROMPT']]\n"
        "sys.stdout.buffer.write(' '.join(words).encode())"
    )
    events = caption(folder, program, words="--picture={picture} {picture}", prompt="who?")
    assert events[-1]["written"] == 1
    assert (folder / "ä b.txt").read_text(encoding="utf-8") == f"--picture={folder / 'ä b.png'} ä b.png who?\n"


def test_without_a_place_for_it_the_picture_comes_last(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    caption(tmp_path / "photos", "import sys, os; print(len(sys.argv), os.path.basename(sys.argv[-1]))", words="-x")
    assert (tmp_path / "photos" / "a.txt").read_text(encoding="utf-8") == "3 a.png\n"


def test_a_program_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png", "b.png")
    program = "import sys\nif 'a.png' in sys.argv[1]: sys.exit('first\\nno eyes')\nprint('A thing')"
    events = caption(tmp_path / "photos", program)
    assert [event["reason"] for event in events if event.get("outcome") == "failed"] == [
        "the command ended with 1: no eyes"
    ]
    assert events[-1]["written"] == 1


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    events = caption(tmp_path / "photos", "import time; time.sleep(60)", timeout_s=0.3)
    assert events[-2]["reason"] == "the command took over 0.3 s"


def test_cancelling_ends_the_program_and_all_it_started(tmp_path: Path) -> None:
    make_pictures(tmp_path / "photos", "a.png")
    noted = tmp_path / "pid"
    program = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(noted)!r} + '.tmp', 'w').write(str(child.pid))\n"
        f"os.rename({str(noted)!r} + '.tmp', {str(noted)!r})\n"
        "child.wait()"
    )
    stop = threading.Event()

    def cancel() -> None:
        until(noted.exists)
        stop.set()

    watcher = threading.Thread(target=cancel)
    watcher.start()
    events = caption(tmp_path / "photos", program, stop=stop)
    watcher.join()
    assert events[-1]["outcome"] == "stopped"
    stat = Path(f"/proc/{noted.read_text()}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_program_that_is_not_there_is_told_before_any_picture(tmp_path: Path) -> None:
    job = CaptionJob(folder=tmp_path, journal=tmp_path / "1.jsonl", method="command", command="no-such-program")
    with pytest.raises(FluxgymError, match="there is no program 'no-such-program'"):
        Command(job).prepare(say=print)
    bad = CaptionJob(folder=tmp_path, journal=tmp_path / "1.jsonl", method="command", command="it 'is")
    with pytest.raises(FluxgymError, match="cannot be read"):
        Command(bad)


def test_a_file_name_that_is_not_utf8_reaches_the_program(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (good,) = make_pictures(folder, "a.png")
    odd = folder / os.fsdecode(b"\xe4.png")
    good.rename(odd)
    caption(folder, "import sys, os; sys.stdout.buffer.write(repr(os.fsencode(sys.argv[1])[-6:]).encode())")
    assert odd.with_suffix(".txt").read_text(encoding="utf-8") == "b'/\\xe4.png'\n"
