"""A Hub of their own for the tests of this room: the stand-in, and this process and its children pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, hf_api
from huggingface_hub.utils import _http

from tests.hub.standin import StandIn, running


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in, with nobody logged in; Hugging Face's folder is `tmp_path`/hf.

    The library reads its settings when it is imported, so they are set in it as well as in the environment.
    """
    home = tmp_path / "hf"
    with running() as standin:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        monkeypatch.setenv("HF_HOME", str(home))
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        template = standin.url + "/{repo_id}/resolve/{revision}/{filename}"
        settings = {
            "ENDPOINT": standin.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_TELEMETRY": True,
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(hf_api.api, "endpoint", standin.url)
        monkeypatch.setattr(_http, "_HUB_ORIGINS", frozenset({_http._url_origin(standin.url)}))
        yield standin
        huggingface_hub.close_session()
