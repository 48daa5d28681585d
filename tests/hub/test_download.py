"""Downloads against the stand-in: broken, resumed, checked, shared, short of room; and what went over the wire."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.hub import download as download_module
from fluxgym_tui.hub.download import DownloadProgress, Wanted, download
from fluxgym_tui.hub.library import HubError
from fluxgym_tui.hub.partial import partial_bytes, partial_path
from tests.hub import standin

REPO, FILE = "me/model", "big.safetensors"
DATA = os.urandom(400_000)
SECRET = "hf_secretsecretsecretsecret"


@pytest.fixture(autouse=True)
def repo(hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos[REPO] = standin.Repo(files={FILE: DATA, "second.safetensors": DATA[:1000], "small.json": b"{}"})
    monkeypatch.setattr(download_module, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(download_module, "_LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(download_module, "_SPARE_BYTES", 0)
    monkeypatch.setattr(download_module, "_TELL_S", 0.0)


def wanted(folder: Path, file: str = FILE, **more: object) -> Wanted:
    return Wanted(repo=REPO, file=file, target=folder / "models" / file, **more)  # type: ignore[arg-type]


_CHILD = """
import json, resource, sys
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.hub.download import Wanted, download
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    download([Wanted.from_json(json.loads(sys.argv[1]))])
except FluxgymError as error:
    sys.exit(str(error))
"""


def elsewhere(one: Wanted, *more: str) -> subprocess.Popen[str]:
    """Another process that downloads `one`; it finds the stand-in by its environment."""
    argv = [sys.executable, "-c", _CHILD, json.dumps(one.to_json()), *more]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def ranges(hub: standin.StandIn) -> list[str | None]:
    return [request.headers.get("range") for request in hub.requests if request.server == "cdn"]


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "models").iterdir())


def test_files_come_whole_with_their_progress(
    hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub.tokens[SECRET] = standin.Token()
    told: list[DownloadProgress] = []
    paths = download([wanted(tmp_path), wanted(tmp_path, "second.safetensors")], tell=told.append)
    assert [path.read_bytes() for path in paths] == [DATA, DATA[:1000]]
    assert left_over(tmp_path) == [FILE, "second.safetensors"]
    first, last = told[0], told[-1]
    assert (first.name, first.number, first.files, first.all_total) == (FILE, 1, 2, 401_000)
    assert (last.name, last.number, last.done, last.total) == ("second.safetensors", 2, 1000, 1000)
    assert (last.all_done, last.left_s) == (401_000, 0)
    assert [one.all_done for one in told] == sorted(one.all_done for one in told)
    assert any(one.rate and one.left_s for one in told)
    # The token went to the Hub, and not to the server that has the bytes.
    assert {request.headers.get("authorization") for request in hub.requests if request.server == "hub"} == {
        f"Bearer {SECRET}"
    }
    assert hub.leaks(SECRET) == []
    agents = {request.headers["user-agent"] for request in hub.requests if request.server == "hub"}
    assert not any(re.search("agent/|torch/", agent) for agent in agents)


def test_a_small_file_is_checked_by_gits_hash(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.large_bytes = 100
    assert download([wanted(tmp_path, "small.json")])[0].read_bytes() == b"{}"
    assert hub.paths(server="cdn") == []
    hub.faults["small.json"] = standin.Fault(corrupt=True)
    with pytest.raises(FluxgymError, match="its git hash is"):
        download([wanted(tmp_path / "other", "small.json")])


def test_broken_connections_are_gone_on_with_by_range(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(cut_after=[100_000, 150_000])
    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    assert ranges(hub) == [None, "bytes=100000-", "bytes=250000-"]


def test_a_connection_on_which_nothing_comes_any_more_is_given_up(
    hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.faults[FILE] = standin.Fault(cut_after=[100_000], stall_s=5)
    began = time.monotonic()
    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    assert time.monotonic() - began < 4
    assert ranges(hub) == [None, "bytes=100000-"]


def test_what_a_killed_download_left_is_gone_on_with(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(pause_s=0.02)
    child = elsewhere(wanted(tmp_path))
    target = tmp_path / "models" / FILE
    deadline = time.monotonic() + 20
    while partial_bytes(target) < 65_536 and time.monotonic() < deadline:
        time.sleep(0.005)
    kill(child)
    kept = partial_bytes(target)
    assert 0 < kept < len(DATA)
    hub.faults.clear()
    told: list[DownloadProgress] = []
    assert download([wanted(tmp_path)], tell=told.append)[0].read_bytes() == DATA
    assert ranges(hub)[-1] == f"bytes={kept}-"
    assert told[0].doing == "checking"
    assert left_over(tmp_path) == [FILE]


def test_what_is_left_of_another_file_is_thrown_away(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(cut_after=[100_000, *[0] * 20])
    with pytest.raises(HubError) as caught:
        download([wanted(tmp_path)])
    assert caught.value.reason == "unreachable"
    assert partial_bytes(tmp_path / "models" / FILE) == 100_000
    hub.faults.clear()
    new = os.urandom(300_000)
    hub.repos[REPO].files[FILE] = new
    hub.requests.clear()
    assert download([wanted(tmp_path)])[0].read_bytes() == new
    assert ranges(hub) == [None]


def test_wrong_bytes_are_found_and_not_kept(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(corrupt=True)
    with pytest.raises(FluxgymError) as caught:
        download([wanted(tmp_path)])
    assert f"not {hashlib.sha256(DATA).hexdigest()}" in caught.value.message
    assert left_over(tmp_path) == []


def test_a_bad_beginning_is_fetched_anew(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(cut_after=[100_000, *[0] * 20])
    with pytest.raises(HubError):
        download([wanted(tmp_path)])
    hub.faults.clear()
    kept = partial_path(tmp_path / "models" / FILE)
    kept.write_bytes(b"\0" * 100_000)
    hub.requests.clear()
    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    assert ranges(hub) == ["bytes=100000-", None]


def test_a_server_that_knows_no_ranges_begins_anew(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(cut_after=[100_000])

    @hub.on("GET", f"/cdn/{REPO}/{FILE}")
    def whole(exchange: standin.Exchange, _: re.Match[str]) -> None:
        if "range" in exchange.request.headers:
            exchange.reply(200, DATA)
        else:
            exchange.start(200, length=len(DATA))
            if cuts := hub.faults[FILE].cut_after:
                exchange.send(DATA[: cuts.pop()])
                exchange.hang_up()
            else:
                exchange.send(DATA)

    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    assert ranges(hub) == [None, "bytes=100000-", None]


def test_servers_that_are_down_for_a_moment(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(status=[503, 429, 403])
    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    assert len(ranges(hub)) == 4
    assert len(hub.paths(method="HEAD")) == 4  # a link that was refused is asked for anew


def test_a_server_that_asks_for_a_day_is_asked_again_sooner(
    hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "_LONGEST_ASKED_S", 0.02)
    asked: list[int] = []

    @hub.on("GET", f"/cdn/{REPO}/{FILE}")
    def busy(exchange: standin.Exchange, _: re.Match[str]) -> None:
        asked.append(1)
        if len(asked) == 1:
            exchange.reply(429, b"", headers={"Retry-After": "86400"})
        else:
            exchange.reply(200, DATA)

    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    assert len(asked) == 2


def test_what_models_yaml_says_of_the_file_is_held_against_it(hub: standin.StandIn, tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match=r"is not the file that models\.yaml names"):
        download([wanted(tmp_path, sha256="0" * 64)])
    with pytest.raises(FluxgymError, match=r"400000, not 5"):
        download([wanted(tmp_path, size_bytes=5)])
    assert ranges(hub) == []
    download([wanted(tmp_path, sha256=hashlib.sha256(DATA).hexdigest(), size_bytes=len(DATA))])


def test_files_that_are_not_there(hub: standin.StandIn, tmp_path: Path) -> None:
    with pytest.raises(HubError) as caught:
        download([wanted(tmp_path, "nothing.safetensors")])
    assert caught.value.reason == "no_file"
    assert download([wanted(tmp_path, "nothing.json", required=False)]) == []


def test_a_file_that_changes_meanwhile_is_not_patched_together(hub: standin.StandIn, tmp_path: Path) -> None:
    @hub.on("GET", f"/cdn/{REPO}/{FILE}")
    def changing(exchange: standin.Exchange, _: re.Match[str]) -> None:
        hub.repos[REPO].files[FILE] = DATA[::-1]
        exchange.start(200, length=len(DATA))
        exchange.send(DATA[:1000])
        exchange.hang_up()

    with pytest.raises(FluxgymError, match="was changed while it was downloaded"):
        download([wanted(tmp_path)])


def test_room_is_looked_at_first(hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(FluxgymError) as caught:
        download([wanted(tmp_path), wanted(tmp_path, "second.safetensors")])
    assert "free, and 401 kB are to be downloaded" in caught.value.message
    assert ranges(hub) == []


def test_a_disk_that_takes_no_more_keeps_what_came(hub: standin.StandIn, tmp_path: Path) -> None:
    child = elsewhere(wanted(tmp_path), "250000")  # the kernel's own refusal to write on
    said = child.communicate(timeout=60)[1]
    assert "does not fit" in said
    assert "what has come is kept" in said
    assert partial_bytes(tmp_path / "models" / FILE) == 250_000
    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    assert ranges(hub) == [None, "bytes=250000-"]


def test_two_that_ask_for_one_file_wait_for_each_other(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(pause_s=0.01)
    told: list[DownloadProgress] = []
    child = elsewhere(wanted(tmp_path))
    deadline = time.monotonic() + 20
    while partial_bytes(tmp_path / "models" / FILE) == 0 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert download([wanted(tmp_path)], tell=told.append)[0].read_bytes() == DATA
    assert (child.communicate(timeout=60)[1], child.returncode) == ("", 0)
    assert told[0].doing == "waiting"
    assert len(ranges(hub)) == 1
    assert left_over(tmp_path) == [FILE]


def test_a_lock_ends_with_its_holder(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.faults[FILE] = standin.Fault(pause_s=0.05)
    child = elsewhere(wanted(tmp_path))
    lock = tmp_path / "models" / f".{FILE}.lock"
    deadline = time.monotonic() + 20
    while not lock.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    killer = threading.Timer(0.2, kill, (child,))
    killer.start()
    assert download([wanted(tmp_path)])[0].read_bytes() == DATA
    killer.join()
    assert not lock.exists()


def test_nothing_is_asked_offline(hub: standin.StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError) as caught:
        download([wanted(tmp_path)])
    assert caught.value.reason == "offline"
    assert hub.requests == []


def test_a_gated_file_is_refused_before_anything_is_made(hub: standin.StandIn, tmp_path: Path) -> None:
    hub.repos[REPO].gated = True
    with pytest.raises(HubError) as caught:
        download([wanted(tmp_path)])
    assert caught.value.reason == "no_token"
    assert not (tmp_path / "models").exists()


def test_a_folder_that_cannot_be_written(hub: standin.StandIn, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder belongs", encoding="utf-8")
    with pytest.raises(FluxgymError, match="cannot make"):
        download([wanted(tmp_path)])


def test_wanted_survives_json(tmp_path: Path) -> None:
    one = wanted(tmp_path, sha256="ab", size_bytes=3, required=False)
    assert Wanted.from_json(one.to_json()) == one
