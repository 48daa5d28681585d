"""The process around a child: one start whoever tries, an exit code whatever happens."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fluxgym_tui.machine.processes import Identity
from fluxgym_tui.runs.children import look
from fluxgym_tui.runs.directory import ChildFiles
from fluxgym_tui.runs.wrapper import ALREADY_STARTED

REPORT = """
import json, os, signal, sys
json.dump({
    "pid": os.getpid(), "session": os.getsid(0), "group": os.getpgid(0), "stdin": sys.stdin.read(),
    "streams": [os.path.samestat(os.fstat(stream), os.stat(sys.argv[1])) for stream in (1, 2)],
    "ignored": [
        name for name in ("SIGHUP", "SIGINT", "SIGTERM")
        if signal.getsignal(getattr(signal, name)) == signal.SIG_IGN
    ],
    "handles": sorted(os.listdir("/proc/self/fd")),
    "process": os.path.exists(sys.argv[2]),
}, open(sys.argv[3], "w"))
"""


def _wrap(files: ChildFiles, *argv: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "fluxgym_tui.runs.wrapper", str(files.run_dir), files.phase, "1", *argv]
    return subprocess.Popen(command, start_new_session=True)


@pytest.fixture
def files(tmp_path: Path) -> ChildFiles:
    """The files of a trainer that was not started yet."""
    return ChildFiles(tmp_path, "train", 1)


def test_of_many_wrappers_one_starts_the_child(files: ChildFiles) -> None:
    gate, starts = files.run_dir / "gate", files.run_dir / "starts"
    os.mkfifo(gate)
    program = f"open({str(starts)!r}, 'a').write('x'); open({str(gate)!r}).read()"
    racers = [_wrap(files, sys.executable, "-c", program) for _ in range(4)]
    with gate.open("w"):  # opens once the child reads: then it runs
        pass
    assert sorted(racer.wait(timeout=60) for racer in racers) == [0, *[ALREADY_STARTED] * 3]
    assert starts.read_text(encoding="ascii") == "x"
    assert look(files).exit_code == 0
    assert _wrap(files, "true").wait(timeout=60) == ALREADY_STARTED  # over is over
    assert starts.read_text(encoding="ascii") == "x"


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (("sh", "-c", "exit 3"), 3, ""),
        (("sh", "-c", "kill -KILL $$"), -signal.SIGKILL, ""),
        (("sh", "-c", "kill -PIPE $$"), -signal.SIGPIPE, ""),
        (("no-such-program",), 127, "cannot run no-such-program: No such file"),
        (("/",), 126, "cannot run /: Permission denied"),
    ],
)
def test_the_exit_code_is_kept_as_it_was(files: ChildFiles, argv: tuple[str, ...], code: int, says: str) -> None:
    assert _wrap(files, *argv).wait(timeout=60) == 0
    status = look(files)
    assert (status.exit_code, status.over, status.lost) == (code, True, False)
    assert says in files.log.read_text(encoding="utf-8")
    assert not list(files.run_dir.glob(".*"))


def test_the_child_lives_in_a_session_of_its_own_with_its_streams_on_the_log(files: ChildFiles) -> None:
    report = files.run_dir / "report"
    wrapper = _wrap(files, sys.executable, "-c", REPORT, str(files.log), str(files.process), str(report))
    assert wrapper.wait(timeout=60) == 0
    told = json.loads(report.read_text(encoding="utf-8"))
    status = look(files)
    assert status.child is not None
    assert status.wrapper is not None
    assert told["pid"] == told["session"] == told["group"] == status.child.pid
    assert status.wrapper.pid == wrapper.pid
    assert told["stdin"] == ""
    assert told["streams"] == [True, True]
    assert told["ignored"] == ["SIGHUP"]
    assert told["process"] is True  # it was known before its program began
    assert told["handles"] == ["0", "1", "2", "3"]  # the fourth is the look at them: nothing was passed on unasked


def test_a_process_file_that_a_crash_left_empty_is_a_start_all_the_same(files: ChildFiles) -> None:
    files.process.touch()
    assert _wrap(files, "true").wait(timeout=60) == ALREADY_STARTED
    status = look(files)
    assert (status.started, status.lost, status.child) == (True, True, None)
    files.process.write_text(json.dumps({"child": Identity("h", "b", 1, 1).to_json()}), encoding="ascii")
    assert look(files).from_another_boot
