"""Dispatch, help, version, errors and exit codes, by the real command."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fluxgym_tui import __version__
from fluxgym_tui.cli import main as cli

HEAVY = ("textual", "torch", "pydantic", "PIL", "numpy", "transformers", "huggingface_hub", "yaml")


def _python(code: str, *, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **(env or {})},
    )


@pytest.mark.parametrize("argv", [["--version"], ["--help"], [], ["runs"], ["runs", "--json"]])
def test_the_light_commands_import_nothing_heavy(argv: Sequence[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from fluxgym_tui.cli.main import main\n"
        f"assert main({list(argv)!r}) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = _python(code, env={"FLUXGYM_HOME": str(tmp_path)})
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_is_there_in_a_light_installation() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'transformers', 'safetensors', 'tokenizers', 'accelerate', 'sentencepiece'):\n"
        "    sys.modules[name] = None\n"
        "from fluxgym_tui.cli.main import COMMANDS, load\n"
        "for name in COMMANDS:\n"
        "    load(name)\n"
        "print('textual' in sys.modules)"
    )
    assert _python(code).stdout == "False\n"


def test_version_and_first_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fluxgym-tui {__version__}\n"
    assert cli.main([]) == 0
    assert "fluxgym-tui demo" in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in cli.COMMANDS)
    assert cli.main(["help"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_with_an_example_and_takes_json(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: fluxgym-tui {name}" in text
    assert f"example:\n  fluxgym-tui {name}" in text
    assert "--json" in text
    assert cli.main(["help", name]) == 0
    assert capsys.readouterr().out == text


def test_a_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: there is no command 'trian'\n  Did you mean train?")


def test_a_folder_in_place_of_a_command_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(tmp_path)]) == 2
    assert f"fluxgym-tui scan {tmp_path}" in capsys.readouterr().err


def test_a_mistyped_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "x.safetensors", "--jsno"]) == 2
    captured = capsys.readouterr().err
    assert "fluxgym-tui info does not take --jsno" in captured
    assert "Did you mean --json?" in captured


def test_an_error_of_the_user_is_message_and_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(tmp_path / "none.safetensors")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"error: cannot read {tmp_path}/none.safetensors: No such file or directory\n"
        "  Check the path and its permissions.\n"
    )


def test_a_bug_is_one_line_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def broken(name: str) -> None:
        raise ZeroDivisionError(f"in {name}")

    monkeypatch.setattr(cli, "load", broken)
    assert cli.main(["scan", "."]) == 70
    (saved,) = tmp_path.glob("fluxgym-tui/crash-*.txt")
    assert "ZeroDivisionError: in scan" in saved.read_text(encoding="utf-8")
    message = capsys.readouterr().err
    assert str(saved) in message
    assert "Traceback (" not in message


def test_ctrl_c_is_exit_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load", interrupted)
    assert cli.main(["scan", "."]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    monkeypatch.setattr("fluxgym_tui.cli.diagnostics.narrate", interrupted)
    assert cli.main(["scan", "."]) == 130  # a second one, while the first is told


def test_a_reader_that_leaves_is_no_error() -> None:
    command = [sys.executable, "-m", "fluxgym_tui", "--help"]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("argv", [("--help",), ("scan", "--help"), ("runs", "--json"), ("models",)])
def test_an_output_that_cannot_be_written_is_said_and_no_bug_of_ours(argv: Sequence[str], tmp_path: Path) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "FLUXGYM_HOME": str(tmp_path / "ws")}
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "fluxgym_tui", *argv]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=env, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "error: cannot write the output: No space left on device",
        "  Check that the disk it goes to has room. Runs that were started go on.",
    ]
    assert not (tmp_path / "state").exists()


def test_utf8_comes_out_whatever_the_locale_says(tmp_path: Path) -> None:
    name = os.fsdecode(b"gr\xc3\xb6\xc3\x9fe-\xff.safetensors")
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    command: list[str | bytes] = [sys.executable, "-m", "fluxgym_tui", "info", os.fsencode(name)]
    done = subprocess.run(command, capture_output=True, env=env, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 2
    assert "größe-\\xff.safetensors".encode() in done.stderr
