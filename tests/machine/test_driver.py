"""The driver's branch and the cards' capabilities, as nvidia-smi tells them."""

from pathlib import Path

import pytest

from fluxgym_tui.machine.driver import DriverFacts, driver_facts, parse_driver


def test_the_answer_is_read() -> None:
    facts = parse_driver("570.86.15, 12.0\n570.86.15, 8.6\n")
    assert facts == DriverFacts(nvidia=570, capabilities=((12, 0), (8, 6)))
    assert parse_driver("470.82.01, [Not Supported]\n") == DriverFacts(nvidia=470)
    assert parse_driver("No devices were found\n") == DriverFacts()


def test_the_driver_is_asked_and_its_absence_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    device = tmp_path / "kfd"
    assert driver_facts(amd_device=device) == DriverFacts()
    device.touch()
    assert driver_facts(amd_device=device) == DriverFacts(amd=True)
    stand_in = tmp_path / "nvidia-smi"
    stand_in.write_text("#!/bin/sh\necho '580.65.06, 9.0'\n", encoding="utf-8")
    stand_in.chmod(0o755)
    assert driver_facts(amd_device=device) == DriverFacts(nvidia=580, capabilities=((9, 0),))
    stand_in.write_text(
        "#!/bin/sh\ncase $1 in *compute_cap*) echo 'not a valid field'; exit 2;; esac\necho 470.82.01\n",
        encoding="utf-8",
    )
    assert driver_facts(amd_device=device) == DriverFacts(nvidia=470)
