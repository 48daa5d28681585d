"""What `demo` says of what was learnt, with a fake trainer in the real one's place."""

import pytest

from fluxgym_tui.cli import launching
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.start import start
from tests.cli.calls import Run
from tests.runs.fake_runs import FakeRun


@pytest.fixture
def demo(fake: FakeRun, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`demo`, whose trainer's probe has the losses given."""

    def launch(spec: TrainSpec, **_: object) -> RunDirectory:
        start(fake.run)
        return fake.run

    def call(probes: str, *options: str) -> tuple[int, str, str]:
        fake.plan(fake.fake("--steps", "3", "--probes", probes))
        return run("demo", *options)

    monkeypatch.setattr(launching, "launch", launch)
    return call


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize(
    ("probes", "change"),
    [
        ("1,0.9", "1.0000 -> 0.9000 (-10%)"),
        ("1,0.81", "1.0000 -> 0.8100 (-19%)"),
        ("0.5,2", "0.5000 -> 2.0000 (+300%)"),
    ],
)
def test_too_small_a_fall_of_the_probe_is_a_warning(
    demo: Run, fake: FakeRun, probes: str, change: str, options: tuple[str, ...]
) -> None:
    code, _, err = demo(probes, *options)
    assert code == 0
    assert f"warning: the demo learnt too little: its probe loss went {change}\n" in err
    assert "a fall of at least 20% was expected" in err
    assert str(fake.run.run_dir) in err


def test_a_fall_of_a_fifth_is_enough(demo: Run) -> None:
    code, out, err = demo("1,0.8")
    assert code == 0
    assert "probe loss (fixed noise, 3 pictures): 1.0000 -> 0.8000 (-20%)" in out
    assert "warning" not in err
