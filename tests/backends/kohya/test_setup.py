"""`setup kohya`: a checkout and an environment, used only once they work; origin and package index are stand-ins."""

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fluxgym_tui.backends.kohya.checkout import Checkout, find_checkout
from fluxgym_tui.backends.kohya.install import alone, carry_out, fetch, imported
from fluxgym_tui.backends.kohya.setup_plan import SetupPlan, setup_plan
from fluxgym_tui.backends.kohya.torch_builds import named_build
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli.main import main
from tests.backends.kohya.fake_checkout import write_checkout
from tests.backends.kohya.fake_index import REQUIREMENTS, write_index

CPU = named_build("cpu", machine="x86_64")


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A repository that stands in for sd-scripts', and the commit to fetch, which is not its newest."""
    root = tmp_path / "origin"
    write_checkout(root)
    (root / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    sha = git(root, "rev-parse", "HEAD")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "two")
    settings = {f"url.{root.as_uri()}.insteadOf": "https://github.com/kohya-ss/sd-scripts"}
    settings["protocol.file.allow"] = "always"  # git's own guard against submodules on this disk
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    return root, sha


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Package indices in a folder; the URL of PyTorch's."""
    pypi, torch = write_index(tmp_path / "index")
    monkeypatch.setenv("PIP_INDEX_URL", pypi)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    return torch


@pytest.fixture
def alone_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: tuple[Path, str]) -> Path:
    """A workspace of an installed program, which has no submodule, on a machine without GPUs."""
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed/models.yaml").touch()
    for module in ("cli.setup", "backends.kohya.checkout"):
        monkeypatch.setattr(f"fluxgym_tui.{module}.bundled", lambda name: tmp_path / "installed" / name)
    pinned = functools.partial(setup_plan, commit=origin[1])
    monkeypatch.setattr("fluxgym_tui.cli.setup.setup_plan", pinned)
    monkeypatch.setattr("fluxgym_tui.cli.setup.PINNED_COMMIT", origin[1])
    monkeypatch.delenv("FLUXGYM_SD_SCRIPTS", raising=False)
    # The stand-in's requirements go with whatever Python runs the tests.
    newest = max((3, 12), sys.version_info[:2])
    monkeypatch.setattr("fluxgym_tui.backends.kohya.setup_plan._PYTHONS", ((3, 10), newest))
    return tmp_path / "gym"


def bare_path(folder: Path) -> Path:
    """A PATH with nothing on it but mkdir."""
    found = folder / "bare"
    found.mkdir(exist_ok=True)
    program = found / "mkdir"
    if not program.exists():
        program.symlink_to(str(shutil.which("mkdir")))
    return found


def planned(root: Path, *, commit: str = "0" * 40, superproject: Path | None = None) -> SetupPlan:
    return setup_plan(root, build=CPU, python=Path(sys.executable), commit=commit, superproject=superproject)


def test_from_nothing_to_a_trainer_through_a_failure(
    alone_here: Path, origin: tuple[Path, str], index: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["setup", "kohya", "--torch", "cpu", "--torch-index", index, "--workspace", str(alone_here)]
    package = tmp_path / "index/pypi/einops"
    package.rename(tmp_path / "einops")  # the index lacks what sd-scripts needs
    assert main(command) == ExitCode.FAILED
    said = capfd.readouterr()
    assert "installing its requirements failed" in said.err
    assert "goes on where it broke off" in said.err
    root = alone_here / "sd-scripts"
    assert not (root / ".venv").exists()
    assert find_checkout(workspace=alone_here, env={}) == Checkout(root)

    (tmp_path / "einops").rename(package)
    assert main(command) == ExitCode.OK
    said = capfd.readouterr()
    assert "[1/5] making its Python environment: done before" in said.err
    assert "[2/5] installing PyTorch 2.6.0 (cpu): done before" in said.err
    assert "[3/5] installing its requirements\n" in said.err
    assert f"kohya is ready: sd-scripts at {origin[1][:8]} in {root}" in said.out
    assert "PyTorch 2.6.0+cpu, no GPU, 218 options" in said.out
    link = root / ".venv"
    assert link.readlink() == Path(f".venv-cpu-{origin[1][:8]}")
    found = find_checkout(workspace=alone_here, env={})
    assert found is not None
    assert (found.python, found.accelerate) == (link / "bin/python", link / "bin/accelerate")
    assert (found.commit(), git(root, "status", "--porcelain", "--untracked-files=no")) == (origin[1], "")

    assert main([*command, "--json"]) == ExitCode.OK
    said = capfd.readouterr()
    assert "installing" not in said.err
    answer = json.loads(said.out)
    assert (answer["root"], answer["python"]) == (str(root), str(link / "bin/python"))
    assert (answer["torch"], answer["gpus"], answer["options"]) == ("2.6.0+cpu", [], 218)

    # Another PyTorch can be asked for. Where it cannot be had, what there is stays.
    other = ["setup", "kohya", "--torch", "cu130", "--torch-index", index, "--workspace", str(alone_here)]
    assert main(other) == ExitCode.FAILED
    assert "it has PyTorch 2.6.0+cpu, not the 2.9.1+cu130 that was asked for" in capfd.readouterr().err
    assert link.readlink() == Path(f".venv-cpu-{origin[1][:8]}")

    # Something in it is lost: pip would not see that, so all of it is made anew.
    (module,) = (link / "lib").glob("python*/site-packages/cv2.py")
    module.unlink()
    assert main(command) == ExitCode.FAILED
    said = capfd.readouterr()
    assert "lacks what sd-scripts needs: cv2" in said.err
    assert "made anew" in said.err
    assert main([*command, "--dry-run"]) == ExitCode.OK
    said = capfd.readouterr()
    assert "is looked at first" in said.out
    assert "done before" not in said.out


def test_every_command_is_printed_and_none_is_run(
    alone_here: Path, capsys: pytest.CaptureFixture[str], origin: tuple[Path, str]
) -> None:
    command = ["setup", "kohya", "--dry-run", "--torch", "cu128", "--workspace", str(alone_here)]
    assert main(command) == ExitCode.OK
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if not line.startswith(("#", "cd "))]
    python = str(alone_here / f"sd-scripts/.venv-cu128-{origin[1][:8]}/bin/python")
    assert ["git", "init", "--quiet", str(alone_here / "sd-scripts.partial")] in lines
    assert [python, "-m", "pip", "install", "torch==2.8.0", "torchvision==0.23.0", "--index-url"] in [
        line[:7] for line in lines
    ]
    assert "https://download.pytorch.org/whl/cu128" in lines[7]
    assert not alone_here.exists()
    assert main([*command, "--json"]) == ExitCode.OK
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["name"] for step in steps] == ["fetch", "environment", "torch", "requirements", "check", "use"]
    assert [word for step in steps for line in step["commands"] for word in line] == [w for line in lines for w in line]


def test_a_fetch_that_broke_off_goes_on(origin: tuple[Path, str], tmp_path: Path) -> None:
    repository, sha = origin
    root = tmp_path / "gym/sd-scripts"
    plan = planned(root, commit=sha)
    repository.rename(tmp_path / "gone")
    with pytest.raises(FluxgymError, match="fetching sd-scripts"):
        fetch(plan, tell=lambda _: None, lock=2)
    assert not root.exists()
    (tmp_path / "gone").rename(repository)
    root.mkdir()  # an empty folder is no obstacle
    assert fetch(plan, tell=lambda _: None, lock=2) == root
    assert Checkout(root).commit() == sha
    assert [path.name for path in root.parent.iterdir()] == ["sd-scripts"]


def test_our_submodule_is_filled(origin: tuple[Path, str], tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    git(ours, "init", "--quiet")
    git(ours, "submodule", "--quiet", "add", "https://github.com/kohya-ss/sd-scripts", "sd-scripts")
    git(ours / "sd-scripts", "checkout", "--quiet", origin[1])
    git(ours, "add", ".")
    git(ours, "commit", "--quiet", "-m", "pin")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ours), str(clone)], check=True)
    root = clone / "sd-scripts"
    assert list(root.iterdir()) == []
    fetch(planned(root, commit=origin[1], superproject=clone), tell=lambda _: None, lock=2)
    assert Checkout(root).commit() == origin[1]
    assert Checkout(root).script.is_file()


def test_an_existing_checkout_and_interpreter_are_used_as_they_are(
    alone_here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "my scripts"
    write_checkout(mine)
    modules = tmp_path / "modules"
    modules.mkdir()
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    # An interpreter with its own packages, without installing any.
    python.write_text(f'#!/bin/sh\nPYTHONPATH={modules} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    command = ["setup", "kohya", "--path", str(mine), "--python", str(python), "--workspace", str(alone_here)]
    monkeypatch.setattr("fluxgym_tui.backends.kohya.install.NEEDED_MODULES", ("torch", "cv3"))
    (modules / "torch.py").write_text(
        "__version__ = '9'\nclass cuda:\n    device_count = lambda: 0\n", encoding="utf-8"
    )
    assert main(command) == ExitCode.MISSING_EXTRA
    assert "lacks what sd-scripts needs: cv3 (ModuleNotFoundError" in capsys.readouterr().err
    assert find_checkout(workspace=alone_here, env={}) is None

    (modules / "cv3.py").touch()
    assert main([*command, "--dry-run"]) == ExitCode.OK
    assert "nothing is installed" in capsys.readouterr().out
    assert main(command) == ExitCode.OK
    assert "218 options" in capsys.readouterr().out
    assert find_checkout(workspace=alone_here, env={}) == Checkout(mine, python)
    assert main([*command, "--torch", "cpu"]) == ExitCode.USAGE
    assert "have no use with it" in capsys.readouterr().err
    # Said once, it stays so.
    assert main(["setup", "kohya", "--workspace", str(alone_here)]) == ExitCode.OK
    assert str(python) in capsys.readouterr().out
    python.unlink()
    with pytest.raises(FluxgymError, match="not there any more") as caught:
        find_checkout(workspace=alone_here, env={})
    assert "setup kohya" in str(caught.value.hint)
    # A setup that is told nothing of it does without, and begins from what there is: nothing.
    assert main(["setup", "kohya", "--dry-run", "--workspace", str(alone_here)]) == ExitCode.NOT_FOUND
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(bare_path(tmp_path)))
        assert main(["setup", "kohya", "--workspace", str(alone_here)]) == ExitCode.MISSING_EXTRA
    assert "that note is removed" in capsys.readouterr().err
    assert find_checkout(workspace=alone_here, env={}) is None


def test_a_gpu_that_pytorch_does_not_reach_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIMULATED: the interpreter is a script that answers as one whose PyTorch lacks the card's code."""
    write_checkout(tmp_path / "sd-scripts")
    plan = planned(tmp_path / "sd-scripts")
    done = tuple(step for step in plan.steps if step.name in ("check", "use"))
    plan.python.parent.mkdir(parents=True)
    answer: dict[str, object] = {
        "missing": [],
        "torch": "2.6.0+cu124",
        "gpus": [],
        "unusable": "RuntimeError: no kernel image",
        "adamw8bit": None,
    }
    options = [{"name": "pretrained_model_name_or_path"}]
    program = f"case $1 in *check_python*) echo '{json.dumps(answer)}';; *) echo '{json.dumps(options)}';; esac"
    plan.python.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    plan.python.chmod(0o755)
    short = SetupPlan(root=plan.root, folder=plan.folder, build=plan.build, steps=done)
    with pytest.raises(FluxgymError, match="computes on no GPU here: RuntimeError: no kernel image"):
        carry_out(short, tell=lambda _: None, needs_gpu=True, lock=2)
    assert not (plan.root / ".venv").exists()
    old = plan.root / ".venv"
    old.mkdir()
    (old / "mine").touch()
    short = SetupPlan(
        root=plan.root, folder=plan.folder, build=plan.build, steps=(done[0], planned(plan.root).steps[-1])
    )
    assert carry_out(short, tell=lambda _: None, needs_gpu=False, lock=2).options == 1
    assert old.readlink() == Path(plan.folder.name)
    assert (plan.root / ".venv-before/mine").is_file()  # a folder that somebody made is kept


_PARAMETER = """
__version__ = "9"
class _Number(float):
    max = detach = lambda self: self
    __add__ = lambda self, other: _Number(float(self) + float(other))
class nn:
    Parameter = staticmethod(lambda value: value)
ones = lambda *size, device: _Number(1.0)
ones_like = lambda other: _Number(1.0)
class cuda:
    device_count = staticmethod(lambda: 1)
    get_device_name = staticmethod(lambda index: "RTX 5090")
"""


@pytest.mark.parametrize(
    ("optimiser", "expected"),
    [
        ("raise RuntimeError('CUDA Setup failed')", "RuntimeError: CUDA Setup failed"),
        (
            "class optim:\n class AdamW8bit:\n  __init__ = lambda *a, **k: None\n  step = lambda self: None",
            "a step of it",
        ),
    ],
)
def test_an_8_bit_optimiser_that_does_not_run_is_told(tmp_path: Path, optimiser: str, expected: str) -> None:
    """SIMULATED: modules that behave as PyTorch with a card and a bitsandbytes without a part for it."""
    (tmp_path / "torch.py").write_text(_PARAMETER, encoding="utf-8")
    (tmp_path / "bitsandbytes.py").write_text(optimiser, encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    found = imported(python, ["torch"], cwd=tmp_path)
    assert (found.missing, found.torch, found.gpus, found.unusable) == ((), "9", ("RTX 5090",), None)
    assert str(found.adamw8bit).startswith(expected)


def test_two_at_once_are_one_too_many(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(FluxgymError, match="another setup") as caught, alone(tmp_path):
        pass
    assert caught.value.code is ExitCode.BUSY
    # What was started holds on to it, should we be killed.
    with alone(tmp_path) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    try:
        with pytest.raises(FluxgymError, match="another setup"), alone(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
    with alone(tmp_path):
        pass


def test_what_cannot_be_is_refused(
    alone_here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    where = ["--workspace", str(alone_here)]
    assert main(["setup", "kohya", "--path", str(tmp_path), *where]) == ExitCode.NOT_FOUND
    assert main(["setup", "kohya", "--python", str(tmp_path / "no"), *where]) == ExitCode.USAGE
    assert main(["setup", "kohya", "--torch-index", "here", *where]) == ExitCode.USAGE
    assert "'here' is no URL" in capsys.readouterr().err
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(bare_path(tmp_path)))
        assert main(["setup", "kohya", *where]) == ExitCode.MISSING_EXTRA
    assert "git is not installed" in capsys.readouterr().err
    (alone_here / "sd-scripts").mkdir(parents=True)
    (alone_here / "sd-scripts/notes.txt").touch()
    assert main(["setup", "kohya", *where]) == ExitCode.USAGE
    assert "is in the way" in capsys.readouterr().err
    (alone_here / "sd-scripts/notes.txt").unlink()
    monkeypatch.setattr("fluxgym_tui.backends.kohya.setup_plan.sys.version_info", (3, 99, 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["setup", "kohya", *where]) == ExitCode.MISSING_EXTRA
    assert "sd-scripts needs Python 3.10 to" in capsys.readouterr().err


def test_a_fluxgym_folder_is_found_by_itself(tmp_path: Path) -> None:
    write_checkout(tmp_path / "sd-scripts")
    for folder in ("models", "outputs", "env/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to(sys.executable)
    assert Checkout(tmp_path / "sd-scripts").own_python is None  # any folder may be called env
    (tmp_path / "env/pyvenv.cfg").touch()
    found = find_checkout(workspace=tmp_path, env={})
    assert found is not None
    assert found.python == tmp_path / "env/bin/python"
