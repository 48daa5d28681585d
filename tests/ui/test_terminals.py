"""The program itself on real terminals: they come and go, the run does not care."""

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.runs.fake_runs import FakeRun, until
from tests.ui.terminal import Terminal

Open = Callable[..., Terminal]


@pytest.fixture
def opened(fake: FakeRun) -> Iterator[Open]:
    """Opens `fluxgym-tui` on a new terminal, in the workspace of `fake`; all of them are closed after the test."""
    terminals: list[Terminal] = []

    def open_(*arguments: str, **env: str) -> Terminal:
        home = str(fake.run.output_dir.parent.parent)
        terminal = Terminal(
            [sys.executable, "-P", "-m", "fluxgym_tui", *arguments],
            env={"FLUXGYM_HOME": home, "XDG_CONFIG_HOME": home, **env},
        )
        terminals.append(terminal)
        return terminal

    yield open_
    for terminal in terminals:
        terminal.close()


def test_a_run_outlives_its_terminals_and_is_seen_to_finish(fake: FakeRun, opened: Open) -> None:
    fake.start("--steps", "6", "--wait_at", "4")
    fake.until_step(3)
    first = opened()
    first.until("3/6")
    first.close()
    assert fake.state().state == "running"
    second = opened("--ascii", LANG="C", LC_ALL="C")
    second.until("3/6")
    fake.open_gate()
    second.until("finished")
    second.press("q")
    assert second.wait() == 0
    until(lambda: fake.state().state == "finished", what="the run to finish")


def test_without_a_terminal_the_command_line_answers(fake: FakeRun) -> None:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-P", "-m", "fluxgym_tui"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, "First steps" in done.stdout) == (0, True)
