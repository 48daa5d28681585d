"""One process at a time, where the file system can tell, and nobody waiting for nobody."""

import errno
import fcntl
import threading
from pathlib import Path

import pytest

from fluxgym_tui.hub.locks import alone


def test_the_second_waits_for_the_first_and_the_lock_is_gone_after(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    order: list[str] = []
    waited = threading.Event()

    def second() -> None:
        with alone(path, waiting=waited.set):
            order.append("second")

    with alone(path, waiting=lambda: pytest.fail("nobody has it")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert not path.exists()


def test_a_lock_that_was_left_lying_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.touch()
    with alone(path, waiting=lambda: pytest.fail("nobody has it")):
        assert path.exists()
    assert not path.exists()


def test_without_locks_in_the_file_system_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refused)
    path = tmp_path / "a.lock"
    with alone(path, waiting=lambda: pytest.fail("nobody waits")), alone(path, waiting=lambda: pytest.fail("nor here")):
        pass
