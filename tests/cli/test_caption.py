"""`caption DIR` from the command line, with its process and a stand-in endpoint."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode
from tests.captioner.chat_standin import chat_standin
from tests.captioner.pictures import make_pictures
from tests.cli.calls import Run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "photos" / "b.txt").write_text("mine\n", encoding="utf-8")
    return tmp_path / "photos"


def test_captions_are_made_shown_and_taken_back(run: Run, photos: Path) -> None:
    with chat_standin(script=lambda number: "The image shows a b\x1b[2Jear") as server:
        code, out, err = run("caption", photos, "--with", "endpoint", "--url", server.url, "--trigger", "hrld")
    assert (code, err) == (ExitCode.OK, "")
    assert out.splitlines()[:3] == [
        "1 picture to caption, 1 left as they are", "a.png: hrld, a b [2Jear", "1 caption written"
    ]  # fmt: skip
    assert f"fluxgym-tui caption {photos} --undo" in out
    assert (photos / "a.txt").read_text(encoding="utf-8") == "hrld, a b [2Jear\n"
    assert run("caption", photos, "--undo") == (ExitCode.OK, "1 caption as before\n", "")
    assert not (photos / "a.txt").exists()


def test_json_lines_tell_of_each_picture(run: Run, photos: Path) -> None:
    with chat_standin(script=lambda number: 400) as server:
        code, out, _ = run("caption", photos, "--with", "endpoint", "--url", server.url, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == ExitCode.FAILED
    assert [(event["kind"], event.get("outcome")) for event in events] == [
        ("start", None), ("picture", "kept"), ("phase", None), ("phase", None), ("picture", "failed"),
        ("end", "finished"),
    ]  # fmt: skip


def test_a_dry_run_says_what_would_be_done(run: Run, photos: Path) -> None:
    code, out, _ = run("caption", photos, "--dry-run")
    assert code == ExitCode.OK
    assert [line.split(maxsplit=1) for line in out.splitlines()[1:]] == [
        ["a.png", "would be captioned"], ["b.png", "stays: it has a caption"],
        ["1", "picture to caption, 1 left as they are"],
    ]  # fmt: skip
    assert not (photos / "a.txt").exists()


def test_an_endpoint_of_the_settings_brings_its_key(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = tmp_path / "config" / "fluxgym-tui" / "settings.yaml"
    settings.parent.mkdir(parents=True)
    with chat_standin(key="sk-settings") as server:
        settings.write_text(
            f"endpoints: {{home: {{url: '{server.url}', model: joy, api_key: sk-settings}}}}", encoding="utf-8"
        )
        code, _, _ = run("caption", photos, "--with", "endpoint", "--endpoint", "home")
        assert code == ExitCode.OK
        assert server.asked[0]["model"] == "joy"
        code, _, err = run("caption", photos, "--with", "endpoint", "--endpoint", "hom")
    assert code == ExitCode.NOT_FOUND
    assert "Did you mean home?" in err
    assert "sk-settings" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--with", "endpoint"], "need its address"),
        (["--with", "command"], "need the command"),
        (["--url", "http://127.0.0.1:1/v1"], "--url goes with --with endpoint"),
        (["--prompt", "who?"], "Florence-2 takes no prompt"),
        (
            ["--with", "command", "--command", "x", "--model", "y"],
            "--model goes with --with florence or --with endpoint",
        ),
        (["--api-key-env", "X"], "--api-key-env goes with --with endpoint"),
        (["--existing", "some"], "invalid choice"),
        (["--undo", "--dry-run"], "--dry-run does not go with --undo"),
        (["--undo", "--with", "command"], "--with does not go with --undo"),
        (
            ["--with", "endpoint", "--url", "http://127.0.0.1:1/v1", "--api-key-env", "NO_SUCH_KEY"],
            "there is no variable NO_SUCH_KEY",
        ),
        (
            ["--with", "endpoint", "--url", "http://127.0.0.1:1/v1", "--prompt", "who?", "--style", "short"],
            "--prompt and --style",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(run: Run, photos: Path, words: list[str], message: str) -> None:
    code, _, err = run("caption", photos, *words)
    assert code == ExitCode.USAGE
    assert message in err
    assert not (photos / "a.txt").exists()


def test_ctrl_c_finishes_what_is_under_way(photos: Path, tmp_path: Path) -> None:
    make_pictures(photos, *(f"c{number}.png" for number in range(20)))
    words = [sys.executable, "-m", "fluxgym_tui", "caption", str(photos)]
    with chat_standin(slow_s=0.1) as server:
        process = subprocess.Popen(
            [*words, "--with", "endpoint", "--url", server.url, "--concurrency", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "FLUXGYM_HOME": str(tmp_path)},
            text=True,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert lines[0] == "21 pictures to caption, 1 left as they are\n"
    assert "goes on where it ended" in out
    assert "finishing what is under way" in err
    written = [path for path in photos.glob("*.txt") if path.name != "b.txt"]
    assert 2 <= len(written) < 21
    assert len(server.asked) == len(written)
