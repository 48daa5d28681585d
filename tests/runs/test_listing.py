"""Looking at the runs again and again: only what changed is read anew, and what changed is."""

from pathlib import Path

import pytest

from fluxgym_tui.runs import listing
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import RunLister, list_runs
from fluxgym_tui.runs.remove import remove
from fluxgym_tui.runs.state import RunSummary, read_state
from tests.runs.fake_runs import FakeRun


def test_an_ended_run_is_read_once_and_a_new_attempt_is_seen(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.start("--steps", "2")
    fake.until_end()
    reads: list[Path] = []

    def counting(run: RunDirectory) -> RunSummary:
        reads.append(run.output_dir)
        return read_state(run)

    monkeypatch.setattr(listing, "read_state", counting)
    lister = RunLister(fake.run.output_dir.parent)
    first = lister.look()
    assert [summary.state for summary in first] == ["finished"]
    assert lister.look() == first
    assert len(reads) == 1
    fake.plan(fake.fake("--steps", "2"), attempt=2)
    assert [summary.state for summary in lister.look()] == ["queued"]
    assert lister.look() == list_runs(fake.run.output_dir.parent)


def test_a_deleted_run_is_gone_from_the_list(fake: FakeRun) -> None:
    fake.start("--steps", "2")
    fake.until_end()
    lister = RunLister(fake.run.output_dir.parent)
    assert len(lister.look()) == 1
    remove(fake.run)
    assert lister.look() == []
