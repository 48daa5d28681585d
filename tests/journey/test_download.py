"""Training on a base model that is not here: fetched from the stand-in for the Hub, then really trained on."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from fluxgym_tui.config.resources import bundled
from fluxgym_tui.runs.verify import verify_lora
from tests.hub import standin
from tests.hub.conftest import hub
from tests.journey.commands import cli

__all__ = ["hub"]

TINY = bundled("examples/tiny-flux")
REPO = "me/tiny"
SECRET = "hf_nobodymayseethistoken00"
FILES = {"transformer": "flux1-tiny", "clip_l": "clip_l", "t5xxl": "t5xxl", "ae": "ae"}
MODELS = f"""\
tiny:
  repo: {REPO}
  file: flux1-tiny.safetensors
  license: apache-2.0
  note: only for a test
  gated: true
  flags: {{t5xxl_max_token_length: 64}}
  clip_l: {{repo: {REPO}, file: clip_l.safetensors}}
  t5xxl: {{repo: {REPO}, file: t5xxl.safetensors}}
  ae: {{repo: {REPO}, file: ae.safetensors}}
"""


@pytest.fixture
def workspace(hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace without the model's files, but with what no header says of so small a model."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = tmp_path / "ws"
    shutil.copytree(TINY / "tokenizers", root / "models/tokenizers")
    for source, target in (("flux1-tiny.json", f"unet/{REPO}"), ("ae.json", "vae")):
        (root / "models" / target).mkdir(parents=True)
        shutil.copy(TINY / source, root / "models" / target)
    (root / "models.yaml").write_text(MODELS, encoding="utf-8")
    (tmp_path / "photos").mkdir()
    shutil.copy(bundled("examples/photos") / "cat.jpg", tmp_path / "photos")
    names = [f"{stem}.safetensors" for stem in FILES.values()]
    hub.repos[REPO] = standin.Repo(files={name: (TINY / name).read_bytes() for name in names}, gated=True)
    return root


def train(workspace: Path) -> "subprocess.CompletedProcess[str]":
    return cli(
        *("train", workspace.parent / "photos", "--name", "Far", "--trigger", "tinyfoto", "--base-model", "tiny"),
        *("--backend", "builtin", "--vram", "cpu", "--resolution", "128", "--steps", "2", "--json"),
        *("--set", "dataset.min_bucket_reso=64"),
        workspace=workspace,
    )


def test_a_model_from_afar_is_fetched_and_trained_on(
    hub: standin.StandIn, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = train(workspace)
    assert refused.returncode == 3
    assert "nobody is logged in" in refused.stderr
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub.tokens[SECRET] = standin.Token()
    refused = train(workspace)
    assert refused.returncode == 1
    assert f"Accept it at https://huggingface.co/{REPO}" in refused.stderr
    assert not any((workspace / "outputs").glob("*"))  # access was asked for before anything was started
    assert hub.paths(server="cdn") == []

    hub.tokens[SECRET] = standin.Token(accepted=frozenset({REPO}))
    hub.faults["flux1-tiny.safetensors"] = standin.Fault(cut_after=[1_000_000])
    done = train(workspace)
    assert done.returncode == 0, done.stderr
    assert "tiny: only for a test" in done.stderr
    assert "4 files of tiny to download" in done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    phases = [event["name"] for event in events if event.get("kind") == "phase"]
    assert phases[:2] == ["download", "prepare"]
    fetched = [event for event in events if event.get("kind") == "progress" and event["phase"] == "download"]
    assert fetched[-1]["done"] == fetched[-1]["total"] == sum(map(len, hub.repos[REPO].files.values()))
    assert events[-1]["outcome"] == "finished"
    assert verify_lora(Path(events[-1]["lora"])).good
    ranges = [request.headers.get("range") for request in hub.requests if request.server == "cdn"]
    assert ranges.count("bytes=1000000-") == 1
    assert len(ranges) == 5
    for name, data in hub.repos[REPO].files.items():
        assert next((workspace / "models").rglob(name)).read_bytes() == data

    # Nothing that was written, printed or sent elsewhere has the token in it.
    said = (done.stdout + done.stderr + refused.stderr).encode()
    written = b"".join(path.read_bytes() for path in workspace.parent.rglob("*") if path.is_file())
    assert SECRET.encode() not in said + written
    assert hub.leaks(SECRET) == []
