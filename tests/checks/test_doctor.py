"""What is said of a machine, from facts alone; and the command, on this one."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.checks.doctor import MachineFacts, TrainerFacts, diagnose, machine_facts
from fluxgym_tui.cli.main import main
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.machine.disk import DiskFacts
from fluxgym_tui.machine.driver import DriverFacts
from fluxgym_tui.machine.gpu import Gpu
from fluxgym_tui.machine.memory import MemoryFacts

CARD = Gpu(
    index=0,
    name="NVIDIA RTX 5090",
    total_mib=32607,
    used_mib=1,
    utilisation_percent=0,
    power_w=20.0,
    temperature_c=30,
    uuid="GPU-a",
)
TRAINER = TrainerFacts(python=Path("/py"), torch="2.8.0+cu128", gpus=("NVIDIA RTX 5090",), version="48d368fa")
GOOD = MachineFacts(
    workspace=Path("/workspace"),
    cards=(CARD,),
    driver=DriverFacts(nvidia=570, capabilities=((12, 0),)),
    memory=MemoryFacts(int(64e9), int(60e9), "cgroup"),
    cores=16.0,
    shared_bytes=8 << 30,
    disk=DiskFacts(int(500e9), int(300e9), Path("/workspace"), "ext4"),
    builtin=replace(TRAINER, version="0.1.0"),
    kohya=TRAINER,
    login="HF_TOKEN",
)


def test_of_a_good_machine_there_is_nothing_to_say() -> None:
    found = diagnose(GOOD)
    assert found.findings == ()
    rows = dict(found.rows)
    assert rows["GPU"] == "NVIDIA RTX 5090, 32 GB"
    assert rows["driver"] == "NVIDIA 570"
    assert rows["memory"] == "64.0 GB (the container's share)"
    assert rows["kohya"] == "48d368fa, PyTorch 2.8.0+cu128, computes on NVIDIA RTX 5090"


def test_a_token_that_is_none_is_a_finding_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "no token")
    facts = machine_facts(Workspace(tmp_path), deep=False)
    assert [finding.title for finding in diagnose(facts).findings if "HF_TOKEN" in finding.title] == [
        "HF_TOKEN holds no token: there are spaces in it, or characters that no token has"
    ]


NO_GPU = replace(TRAINER, gpus=(), unusable="RuntimeError: no kernel image is available")


@pytest.mark.parametrize(
    ("facts", "code", "severity", "words"),
    [
        (replace(GOOD, driver=DriverFacts(), cards=()), "no_gpu", Severity.WARNING, "no GPU"),
        (
            replace(GOOD, driver=DriverFacts(nvidia=550, capabilities=((12, 0),))),
            "driver",
            Severity.ERROR,
            "driver 550",
        ),
        (replace(GOOD, kohya=NO_GPU), "torch_without_gpu", Severity.ERROR, "of sd-scripts computes on no GPU"),
        (replace(GOOD, builtin=NO_GPU), "torch_without_gpu", Severity.ERROR, "built-in trainer computes on no GPU"),
        (replace(GOOD, kohya=TrainerFacts(missing="not here")), "kohya_missing", Severity.ADVICE, "not installed"),
        (replace(GOOD, kohya=replace(TRAINER, problem="lacks cv2")), "trainer_broken", Severity.ERROR, "lacks cv2"),
        (replace(GOOD, kohya=replace(TRAINER, version="0123abcd")), "kohya_commit", Severity.ADVICE, "0123abcd"),
        (
            replace(GOOD, kohya=replace(TRAINER, adamw8bit="RuntimeError: no kernel")),
            "bitsandbytes",
            Severity.WARNING,
            "does not run here: RuntimeError: no kernel",
        ),
        (replace(GOOD, builtin=TrainerFacts(missing="torch")), "builtin_missing", Severity.ADVICE, "torch"),
        (
            replace(GOOD, memory=MemoryFacts(int(12e9), int(9e9), "cgroup")),
            "little_memory",
            Severity.WARNING,
            "12.0 GB of memory",
        ),
        (replace(GOOD, shared_bytes=64 << 20), "little_shared_memory", Severity.ADVICE, "/dev/shm"),
        (
            replace(GOOD, disk=DiskFacts(int(50e9), int(20e9), Path("/"), "ext4")),
            "little_disk",
            Severity.WARNING,
            "20.0 GB are free",
        ),
        (
            replace(GOOD, disk=DiskFacts(int(500e9), int(300e9), Path("/"), "overlay")),
            "disk_does_not_last",
            Severity.WARNING,
            "gone with it",
        ),
        (replace(GOOD, login=None), "not_logged_in", Severity.ADVICE, "gated"),
        (
            replace(GOOD, session=Finding(code="logout", severity=Severity.WARNING, title="ends at logout", fix="x")),
            "logout",
            Severity.WARNING,
            "ends at logout",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_mend(facts: MachineFacts, code: str, severity: Severity, words: str) -> None:
    (finding,) = diagnose(facts).findings
    assert (finding.code, finding.severity) == (code, severity)
    assert words in finding.title
    assert finding.fix


def test_a_pytorch_that_does_not_fit_is_told_which_does() -> None:
    (finding,) = diagnose(replace(GOOD, builtin=NO_GPU)).findings
    assert finding.fix == (
        "/py -m pip install torch==2.8.0 torchvision==0.23.0 --index-url https://download.pytorch.org/whl/cu128"
    )


def test_no_trainer_at_all_stops_a_training() -> None:
    facts = replace(GOOD, builtin=TrainerFacts(missing="torch"), kohya=TrainerFacts(missing="not here"))
    assert [finding.severity for finding in diagnose(facts).findings] == [Severity.ERROR, Severity.ADVICE]


def test_a_disk_that_has_the_models_needs_less() -> None:
    disk = DiskFacts(int(50e9), int(20e9), Path("/"), "ext4")
    assert diagnose(replace(GOOD, disk=disk, models_here=True)).findings == ()


def test_the_command_looks_at_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("FLUXGYM_SD_SCRIPTS", raising=False)
    where = ["--quick", "--workspace", str(tmp_path / "gym")]
    monkeypatch.setattr("fluxgym_tui.checks.doctor.find_checkout", lambda **_: None)
    assert main(["doctor", "--json", *where]) == ExitCode.OK
    answer = json.loads(capsys.readouterr().out)
    assert answer["ready"] is True
    assert answer["machine"]["login"] == "HF_TOKEN"
    assert "kohya_missing" in {finding["code"] for finding in answer["findings"]}
    assert main(["doctor", *where]) == ExitCode.OK
    said = capsys.readouterr()
    assert "ready to train" in said.out
    assert "hf_secret" not in said.out + said.err


def test_a_trainer_that_does_not_run_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIMULATED: an interpreter that cannot import; the built-in one's PyTorch is not imported for this test."""

    def broken(*_: object, **__: object) -> None:
        raise FluxgymError("/py lacks what sd-scripts needs: cv2", hint="x")

    monkeypatch.setattr("fluxgym_tui.checks.doctor.imported", broken)
    monkeypatch.setattr("fluxgym_tui.checks.doctor.find_checkout", lambda **_: None)
    assert main(["doctor", "--workspace", str(tmp_path)]) == ExitCode.FINDINGS
    said = capsys.readouterr()
    assert "the built-in trainer is installed, and does not run" in said.out
    assert f"importing PyTorch in {sys.executable}" in said.err
