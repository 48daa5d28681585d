"""Looking for model files loads neither the Hub's library nor an HTTP client: that is for whoever asks the Hub."""

import os
import subprocess
import sys

import pytest

HEAVY = {"huggingface_hub", "httpx", "httpx2", "hf_xet", "pydantic", "torch", "textual", "PIL", "numpy"}


@pytest.mark.parametrize("module", ["find", "download", "needs", "auth", "access", "remote"])
def test_importing_it_is_cheap(module: str) -> None:
    program = f"import sys, fluxgym_tui.hub.{module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "fluxgym_tui" in loaded
    assert not loaded & HEAVY


def test_looking_is_cheap_too() -> None:
    program = (
        "import sys; from pathlib import Path; from fluxgym_tui.config.models import load_models; "
        "from fluxgym_tui.hub.find import model_state; "
        "[model_state(entry, Path('/nowhere')) for entry in load_models().values()]; print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & HEAVY


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline_is_known_without_the_library(value: str, offline: bool) -> None:
    program = "import sys; from fluxgym_tui.hub.library import is_offline; print(is_offline(), *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": value, "TRANSFORMERS_OFFLINE": ""},
    )
    said, *loaded = done.stdout.split()
    assert said == str(offline)
    assert "huggingface_hub" not in loaded
