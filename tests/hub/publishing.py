"""What the stand-in for the Hub needs to be published to: repositories made, files taken, commits, faults on demand."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field

import yaml

from tests.hub.standin import Exchange, Repo, StandIn


@dataclass(kw_only=True)
class Publishing:
    """What was published, and what is to go wrong.

    `stored` are large files by their sha256; `uploads` the ones that came, in order. `fail_upload_of` refuses the
    large files with these contents once each; `fail_commits` answers that many commits with 500. `commits` has one
    entry a commit: the paths it wrote and deleted.
    """

    hub: StandIn
    stored: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    commits: list[tuple[list[str], list[str]]] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)  # set once a picture waits, see `hold`
    released: threading.Event | None = None
    fail_commits: int = 0
    warnings: list[dict[str, str]] = field(default_factory=list)  # about the card
    part_bytes: int | None = None  # larger files go up in parts of so many bytes, as very large ones do on the Hub
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def hold(self) -> None:
        """Let the next PNG wait until `released` is set; `held` tells that one does."""
        self.released = threading.Event()

    def expect_failure(self, content: bytes) -> None:
        """Refuse the next upload of `content` in a way that is not tried again."""
        self.refused.append(content)


def _writable(hub: StandIn, exchange: Exchange, owner: str) -> bool:
    known = hub.tokens.get(exchange.token or "")
    if known is None:
        exchange.refuse(401, "Invalid username or password.")
        return False
    if known.role == "read" or owner not in (known.name, *known.orgs):
        exchange.refuse(403, f"You don't have the rights to create a model under the namespace {owner}")
        return False
    return True


def accept_publishing(hub: StandIn) -> Publishing:
    """Let `hub` be published to."""
    state = Publishing(hub=hub)
    name = r"([^/]+/[^/]+)"

    @hub.on("POST", "/api/repos/create")
    def create(exchange: Exchange, _: re.Match[str]) -> None:
        asked = exchange.json()
        known = hub.tokens.get(exchange.token or "")
        owner = asked.get("organization") or (known.name if known else "")
        if not _writable(hub, exchange, owner):
            return
        repo = f"{owner}/{asked['name']}"
        answer = {"url": f"{hub.url}/{repo}", "name": repo, "id": "0123456789abcdef01234567"}
        if repo in hub.repos:
            exchange.reply(409, answer, headers={"X-Error-Message": "You already created this model repo"})
            return
        hub.repos[repo] = Repo(private=asked.get("visibility") == "private", files={".gitattributes": b""})
        exchange.reply(200, answer)

    @hub.on("PUT", rf"/api/models/{name}/settings")
    def settings(exchange: Exchange, match: re.Match[str]) -> None:
        if _writable(hub, exchange, match[1].partition("/")[0]):
            asked = exchange.json()
            private = asked.get("private", asked.get("visibility") == "private")
            hub.repos[match[1]].private = bool(private)
            exchange.reply(200, {"private": private})

    @hub.on("POST", "/api/validate-yaml")
    def validate(exchange: Exchange, _: re.Match[str]) -> None:
        errors = card_errors(str(exchange.json()["content"]))
        exchange.reply(
            400 if errors else 200, {"errors": [{"message": text} for text in errors], "warnings": state.warnings}
        )

    @hub.on("POST", rf"/api/models/{name}/preupload/main")
    def preupload(exchange: Exchange, match: re.Match[str]) -> None:
        if not _writable(hub, exchange, match[1].partition("/")[0]):
            return
        there = hub.repos[match[1]].files
        answers = []
        for file in exchange.json()["files"]:
            path = file["path"]
            mode = "lfs" if path.endswith((".safetensors", ".png")) else "regular"
            answers.append(
                {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": _oid(there.get(path), mode)}
            )
        exchange.reply(200, {"files": answers})

    @hub.on("POST", rf"/{name}\.git/info/lfs/objects/batch")
    def batch(exchange: Exchange, match: re.Match[str]) -> None:
        if not _writable(hub, exchange, match[1].partition("/")[0]):
            return
        objects = []
        for wanted in exchange.json()["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in state.stored:
                answer["actions"] = {"upload": _upload_action(state, wanted["oid"], wanted["size"])}
            objects.append(answer)
        exchange.reply(200, {"transfer": "basic", "objects": objects})

    @hub.on("PUT", r"/lfs/([0-9a-f]{64})")
    def put(exchange: Exchange, match: re.Match[str]) -> None:
        body = exchange.request.body
        if state.released is not None and body.startswith(b"\x89PNG"):
            state.held.set()
            state.released.wait(60)
        if body in state.refused:
            state.refused.remove(body)
            exchange.refuse(403, "the storage refuses, on demand")
            return
        assert hashlib.sha256(body).hexdigest() == match[1]
        state.stored[match[1]] = body
        state.uploads.append(match[1])
        exchange.reply(200)

    @hub.on("PUT", r"/lfs-part/([0-9a-f]{64})/(\d+)")
    def put_part(exchange: Exchange, match: re.Match[str]) -> None:
        state.parts.setdefault(match[1], {})[int(match[2])] = exchange.request.body
        exchange.reply(200, headers={"ETag": f'"part-{match[2]}"'})

    @hub.on("POST", r"/lfs-complete/([0-9a-f]{64})")
    def complete(exchange: Exchange, match: re.Match[str]) -> None:
        parts = state.parts[match[1]]
        assert [part["partNumber"] for part in exchange.json()["parts"]] == sorted(parts)
        whole = b"".join(parts[number] for number in sorted(parts))
        assert hashlib.sha256(whole).hexdigest() == match[1]
        state.stored[match[1]] = whole
        state.uploads.append(match[1])
        exchange.reply(200, {})

    @hub.on("POST", rf"/api/models/{name}/commit/main")
    def commit(exchange: Exchange, match: re.Match[str]) -> None:
        if state.fail_commits:
            state.fail_commits -= 1
            exchange.refuse(500, "the commit fails, on demand")
            return
        if not _writable(hub, exchange, match[1].partition("/")[0]):
            return
        repo = hub.repos[match[1]]
        written, deleted = [], []
        for line in exchange.request.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
                written.append(value["path"])
            elif entry["key"] == "lfsFile":
                repo.files[value["path"]] = state.stored[value["oid"]]
                written.append(value["path"])
            elif entry["key"] == "deletedFile":
                del repo.files[value["path"]]
                deleted.append(value["path"])
        state.commits.append((sorted(written), sorted(deleted)))
        repo.commit = hashlib.sha1(exchange.request.body).hexdigest()
        exchange.reply(200, {"commitUrl": f"{hub.url}/{match[1]}/commit/{repo.commit}", "commitOid": repo.commit})

    return state


def card_errors(content: str) -> list[str]:
    """What the Hub would refuse a card for, as far as its documentation of the metadata says."""
    match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    head = yaml.safe_load(match[1]) if match else None
    if not isinstance(head, dict):
        return ["there is no metadata"]
    texts = ("license", "license_name", "license_link", "pipeline_tag", "library_name", "instance_prompt")
    errors = [f"{key} must be a text" for key in texts if key in head and not isinstance(head[key], str)]
    if head.get("license") == "other" and not head.get("license_name"):
        errors.append("license: other needs license_name")
    if "license" in head and head["license"] not in _LICENSES:
        errors.append(f"license: {head['license']} is none that is known")
    if not all(isinstance(tag, str) for tag in head.get("tags", [])):
        errors.append("tags must be texts")
    if "base_model" in head and not re.fullmatch(r"([\w.-]+/)?[\w.-]+", str(head["base_model"])):
        errors.append("base_model must be a model's name")
    widgets = [(entry.get("text"), entry.get("output", {}).get("url")) for entry in head.get("widget", [])]
    if not all(isinstance(text, str) and isinstance(url, str) for text, url in widgets):
        errors.append("each widget needs text and output.url")
    return errors


_LICENSES = {"apache-2.0", "mit", "openrail", "creativeml-openrail-m", "cc-by-nc-4.0", "other", "unknown"}


def _upload_action(state: Publishing, oid: str, size: int) -> dict[str, object]:
    """Where a large file goes: to one address, or in parts to several."""
    if state.part_bytes is None or size <= state.part_bytes:
        return {"href": f"{state.hub.cdn_url}/lfs/{oid}"}
    count = -(-size // state.part_bytes)
    parts = {str(number): f"{state.hub.cdn_url}/lfs-part/{oid}/{number}" for number in range(1, count + 1)}
    return {"href": f"{state.hub.cdn_url}/lfs-complete/{oid}", "header": {"chunk_size": str(state.part_bytes), **parts}}


def _oid(content: bytes | None, mode: str) -> str | None:
    """What a file is known by: an LFS file by its sha256, another by git's own name for it."""
    if content is None:
        return None
    if mode == "lfs":
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
