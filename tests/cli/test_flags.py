"""`flags`: sd-scripts' options, from the checkout that would train."""

import json
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli.main import main
from tests.backends.kohya.fake_checkout import RECORDED, write_checkout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose sources can be read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "sd-scripts"
    write_checkout(root)
    return root


def test_every_option_is_listed(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flags", "--sd-scripts", str(checkout)]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[1:]} >= set(RECORDED)
    assert main(["flags", "--json", "--sd-scripts", str(checkout)]) == ExitCode.OK
    listed = {flag["name"]: flag for flag in json.loads(capsys.readouterr().out)["flags"]}
    assert listed["timestep_sampling"]["choices"] == RECORDED["timestep_sampling"]["choices"]
    assert listed["timestep_sampling"]["default"] == "sigma"


def test_one_is_explained_in_its_own_words(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flags", "--discrete_flow_shift", "--sd-scripts", str(checkout)]) == ExitCode.USAGE
    capsys.readouterr()
    assert main(["flags", "discrete_flow", "--sd-scripts", str(checkout)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert said == "discrete_flow_shift: a number, default 3.0\n  what discrete_flow_shift does\n"


def test_one_that_is_not_there_is_named_by_the_nearest(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flags", "sigmod_scale", "--sd-scripts", str(checkout)]) == ExitCode.NOT_FOUND
    assert "Did you mean sigmoid_scale?" in capsys.readouterr().err


def test_without_a_checkout_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fluxgym_tui.cli.flags.find_checkout", lambda **_: None)
    assert main(["flags", "--workspace", str(tmp_path)]) == ExitCode.MISSING_EXTRA
    assert "--sd-scripts DIR" in capsys.readouterr().err
