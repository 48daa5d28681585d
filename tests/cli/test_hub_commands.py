"""`models`, `download`, `login`, `logout` and `whoami` by the front door, against the stand-in for the Hub."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.hub import download as download_module
from fluxgym_tui.hub.download import DownloadProgress, Wanted
from fluxgym_tui.hub.tokenizers import TOKENIZERS
from tests.cli.calls import Run, RunJson
from tests.hub import standin
from tests.hub.model_files import model_bytes, put_model

SECRET = "hf_donotprintmeanywhere123456"


@pytest.fixture(autouse=True)
def machine(hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing on it, and a Hub that has a small model of everybody's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(download_module, "_SPARE_BYTES", 0)
    monkeypatch.setattr(download_module, "_FIRST_WAIT_S", 0.01)
    hub.repos["me/small"] = standin.Repo(
        files={"flux.safetensors": model_bytes("clip"), **{f"{kind}.safetensors": model_bytes(kind) for kind in _KINDS}}
    )
    for tokenizer in TOKENIZERS:
        hub.repos[tokenizer.repo] = standin.Repo(files=dict.fromkeys(tokenizer.files, b"{}"))
    (tmp_path / "models.yaml").write_text(_MODELS, encoding="utf-8")
    put_model(tmp_path / "models/unet/me/small/small.safetensors", "flux")


_KINDS = ("clip", "t5", "ae")
_MODELS = """\
small:
  note: only for tests
  repo: me/small
  file: small.safetensors
  base: me/small
  license: mit
  clip_l: {repo: me/small, file: clip.safetensors}
  t5xxl: {repo: me/small, file: t5.safetensors}
  ae: {repo: me/small, file: ae.safetensors}
"""


def everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_models_say_what_is_here_half_here_and_missing(run: Run, run_json: RunJson, tmp_path: Path) -> None:
    code, out, _ = run("models")
    assert code == ExitCode.OK
    table, places = out.split("\n\n")[:2]
    rows = {line.split()[0]: line for line in table.splitlines()}
    assert rows["small"].endswith("lacks clip_l, t5xxl, ae")
    assert max(map(len, rows.values())) <= 80
    assert f"small      {tmp_path}/models/unet/me/small/small.safetensors" in places
    assert rows["flux-dev"].rstrip().endswith("no")
    assert rows["tiny-flux"].rstrip().endswith("yes")
    assert "flux-schnell: not recommended" in out
    assert "small: only for tests" in out
    _, data = run_json("models")
    small = next(model for model in data["models"] if model["key"] == "small")
    assert (small["state"], small["here"], small["note"]) == ("partly", False, "only for tests")
    assert small["found"]["transformer"]["path"] == str(tmp_path / "models/unet/me/small/small.safetensors")
    assert [missing["role"] for missing in small["missing"]] == ["clip_l", "t5xxl", "ae"]
    _, out, _ = run("models", "--files")
    assert f"{tmp_path}/models/clip/clip.safetensors" in out
    assert "no: from me/small/clip.safetensors" in out


def test_download_fetches_what_is_missing_and_nothing_twice(run: Run, hub: standin.StandIn, tmp_path: Path) -> None:
    code, out, err = run("download", "small", "--dry-run")
    assert code == ExitCode.OK
    assert f"{tmp_path}/models/clip/clip.safetensors" in out
    assert "11 files of small to download" in err
    assert hub.requests == []
    code, out, err = run("download", "small")
    assert code == ExitCode.OK, err
    assert "small: only for tests" in err
    assert "asking for access to me/small" in err
    assert "small is here\n" in out
    assert "clip.safetensors  " in out
    assert (tmp_path / "models/tokenizers/google_t5-v1_1-xxl/spiece.model").read_bytes() == b"{}"
    asked = len(hub.requests)
    code, out, _ = run("download", "SMALL")
    assert code == ExitCode.OK
    assert "small is here already" in out
    assert len(hub.requests) == asked


def test_download_speaks_json_lines(run: Run, hub: standin.StandIn) -> None:
    code, out, _ = run("download", "small", "--json")
    assert code == ExitCode.OK
    lines = [json.loads(line) for line in out.splitlines()]
    done = [line["file"] for line in lines if line["kind"] == "progress" and line["done"] == line["total"]]
    assert done[:3] == ["clip.safetensors", "t5.safetensors", "ae.safetensors"]
    assert lines[-2]["all_done"] == lines[-2]["all_total"]
    assert (lines[-1]["kind"], lines[-1]["state"]) == ("end", "here")
    code, out, _ = run("download", "dev", "--dry-run", "--json")
    assert [json.loads(line).get("file") for line in out.splitlines()][:2] == ["flux1-dev.sft", "clip_l.safetensors"]


def test_download_refuses_in_plain_words(run: Run, hub: standin.StandIn, tmp_path: Path) -> None:
    code, _, err = run("download", "flux-kontext")
    assert (code, "Kontext learns from pairs" in err) == (ExitCode.USAGE, True)
    code, _, err = run("download", "nothing")
    assert code == ExitCode.NOT_FOUND
    hub.repos["me/small"].gated = True
    code, _, err = run("download", "small")
    assert code == ExitCode.FAILED
    assert "me/small asks who you are, and nobody is logged in" in err
    assert hub.paths(method="HEAD") == []  # access was asked for before anything else
    put_model(tmp_path / "models/clip/clip.safetensors", "t5")
    code, _, err = run("download", "small")
    assert code == ExitCode.USAGE
    assert "models/clip/clip.safetensors is not what it should be, but: T5 text encoder" in err


def test_ctrl_c_keeps_what_came(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(wanted: Sequence[Wanted], *, tell: Callable[[DownloadProgress], None]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fluxgym_tui.cli.download.download", interrupted)
    code, _, err = run("download", "small")
    assert code == ExitCode.INTERRUPTED
    assert err.splitlines()[-2:] == ["what has come is kept; the same command goes on from there", "interrupted"]


def test_login_reads_standard_input_and_shows_nothing(
    run: Run, run_json: RunJson, hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens[SECRET] = standin.Token(role="write", orgs=("atelier",))
    monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET + "\n"))
    code, out, err = run("login")
    assert code == ExitCode.OK
    assert "logged in as ada (Ada)" in out
    assert "role: write: downloads and publishing" in out
    assert "organisations: atelier" in out
    said = out + err
    code, who = run_json("whoami")
    assert (code, who["name"], who["role"], who["token_from"]) == (0, "ada", "write", str(tmp_path / "hf/token"))
    _, out, err = run("whoami")
    said += out + err + json.dumps(who)
    run("download", "small")
    code, out, err = run("logout")
    assert (code, out) == (ExitCode.OK, "logged out\n")
    code, _, err = run("whoami")
    assert code == ExitCode.FAILED
    assert "nobody is logged in to Hugging Face" in err
    assert SECRET not in said + out + err
    assert SECRET.encode() not in everything_written(tmp_path)
    assert hub.leaks(SECRET) == []


def test_login_refuses_nothing_and_nonsense(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, err = run("login")
    assert (code, "no token came on standard input" in err) == (ExitCode.USAGE, True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hf_wrong"))
    code, out, err = run("login")
    assert code == ExitCode.FAILED
    assert "does not know the token" in err
    assert "hf_wrong" not in out + err
    code, _, err = run("login", "hf_wrong")  # never an argument
    assert code == ExitCode.USAGE
    assert b"hf_wrong" not in everything_written(tmp_path)


def test_the_environments_token_is_told_of(
    run: Run, run_json: RunJson, hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens["hf_env"] = standin.Token(name="eve", role="fineGrained", reads_gated=False, write_to=("eve",))
    monkeypatch.setenv("HF_TOKEN", "hf_env")
    _, out, _ = run("whoami")
    assert "from HF_TOKEN" in out
    assert "gated models: may NOT be read" in out
    assert "publishes to: eve" in out
    code, out, err = run("logout")
    assert (code, out) == (ExitCode.OK, "nobody was logged in\n")
    assert "HF_TOKEN is set" in err
    code, who = run_json("whoami")
    assert (who["reads_gated"], who["writes_to"]) == (False, ["eve"])
    monkeypatch.setenv("HF_TOKEN", "no token")
    code, out, err = run("logout")
    assert (code, out) == (ExitCode.OK, "nobody was logged in\n")
    assert "HF_TOKEN holds no token" in err
    monkeypatch.setattr(sys, "stdin", io.StringIO("hf_env\n"))
    code, out, err = run("login")
    assert (code, out.splitlines()[0]) == (ExitCode.OK, "logged in as eve (Eve)")
    assert "HF_TOKEN holds no token" in err


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_the_token_is_typed_unseen_and_fluxgyms_is_offered(
    hub: standin.StandIn, tmp_path: Path, answer: str
) -> None:
    hub.tokens[SECRET] = standin.Token()
    hub.tokens["hf_typed"] = standin.Token(name="typed")
    (tmp_path / "HF_TOKEN").write_text(SECRET, encoding="utf-8")
    outer, inner = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "fluxgym_tui", "login"],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**os.environ, "FLUXGYM_HOME": str(tmp_path), "NO_COLOR": "1"},
        start_new_session=True,
    )
    os.close(inner)
    seen = read_until(outer, "[y/N] ")
    os.write(outer, answer.encode() + b"\n")
    if answer == "n":
        seen += read_until(outer, "(not shown): ")
        os.write(outer, b"hf_typed\n")
    seen += read_until(outer, "role:")
    assert child.wait(timeout=30) == 0
    os.close(outer)
    assert ("logged in as ada" if answer == "y" else "logged in as typed") in seen
    assert "hf_typed" not in seen
    assert SECRET not in seen
    assert (SECRET in (tmp_path / "hf/token").read_text(encoding="utf-8")) == (answer == "y")


def read_until(terminal: int, words: str) -> str:
    seen = ""
    while words not in seen:
        seen += os.read(terminal, 4096).decode()
    return seen
