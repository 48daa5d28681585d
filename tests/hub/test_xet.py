"""Xet by its real library, its store a folder (that library's own stand-in for its servers), the Hub the stand-in."""

import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.hub import download as download_module
from fluxgym_tui.hub import remote
from fluxgym_tui.hub.download import Wanted, download
from fluxgym_tui.hub.partial import begin_partial, partial_path
from tests.hub import standin

hf_xet: Any = importlib.import_module("hf_xet")  # it has no types
REPO, FILE = "me/model", "big.safetensors"
DATA = os.urandom(3_000_000)
SECRET = "hf_xetxetxetxetxet"


@pytest.fixture
def wanted(hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """A file that is stored by Xet as well as behind the redirect."""
    monkeypatch.setattr(download_module, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(download_module, "_SPARE_BYTES", 0)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet-cache"))
    hub.tokens[SECRET] = standin.Token()
    hub.repos[REPO] = standin.Repo(files={FILE: DATA})
    source = tmp_path / "source"
    source.write_bytes(DATA)
    store = f"local://{tmp_path}/store"
    with hf_xet.XetSession().new_upload_commit(endpoint=store) as commit:
        handle = commit.start_upload_file(str(source))
    digest = handle.result().xet_info.hash
    hub.xet[FILE] = digest

    @hub.on("GET", f"/api/models/{REPO}/xet-read-token/main")
    def read_token(exchange: standin.Exchange, _: re.Match[str]) -> None:
        exchange.reply(
            200,
            {},
            headers={
                "X-Xet-Cas-Url": store,
                "X-Xet-Access-Token": "short-lived",
                "X-Xet-Token-Expiration": "4000000000",
            },
        )

    return Wanted(repo=REPO, file=FILE, target=tmp_path / "models" / FILE)


def test_a_file_of_xet_comes_by_xet(hub: standin.StandIn, wanted: Wanted) -> None:
    assert download([wanted])[0].read_bytes() == DATA
    assert hub.paths(server="cdn") == []
    assert f"/api/models/{REPO}/xet-read-token/main" in hub.paths()
    assert hub.leaks(SECRET) == []


def test_xet_goes_on_where_another_download_stopped(
    hub: standin.StandIn, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    by_xet = remote._xet_pieces

    def watched(file: remote.RemoteFile, offset: int) -> Any:
        asked.append(offset)
        return by_xet(file, offset)

    monkeypatch.setattr(remote, "_xet_pieces", watched)
    wanted.target.parent.mkdir()
    begin_partial(wanted.target, remote.look_up(REPO, FILE).etag)
    partial_path(wanted.target).write_bytes(DATA[:1_234_567])
    assert download([wanted])[0].read_bytes() == DATA
    assert asked == [1_234_567]
    assert hub.paths(server="cdn") == []


def test_where_xet_fails_http_goes_on(hub: standin.StandIn, wanted: Wanted) -> None:
    hub.on("GET", f"/api/models/{REPO}/xet-read-token/main")(lambda exchange, _: exchange.refuse(404, "no store"))
    assert download([wanted])[0].read_bytes() == DATA
    assert len(hub.paths(server="cdn")) == 1


@pytest.mark.parametrize("missing", ["switch", "library", "old library"])
def test_without_xet_http_is_used(
    hub: standin.StandIn, wanted: Wanted, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "switch":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    elif missing == "library":
        monkeypatch.setitem(sys.modules, "hf_xet", None)
    else:
        monkeypatch.setattr(hf_xet, "XetSession", object)
    assert download([wanted])[0].read_bytes() == DATA
    assert len(hub.paths(server="cdn")) == 1
