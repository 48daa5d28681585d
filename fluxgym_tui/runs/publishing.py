"""Publishing a run: by a person's wish, or as the last child of a run whose spec asked for it.

`python -m fluxgym_tui.runs.publishing OUTPUT_DIR` is that child: private, under the account's own name.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import PhaseEvent, ProgressEvent
from fluxgym_tui.hub.auth import Account
from fluxgym_tui.hub.library import shown_endpoint
from fluxgym_tui.hub.publish import Published, UploadProgress, publish, writer
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.publication import (
    Publication,
    note_published,
    prepare_publication,
    published_before,
    stale_samples,
)
from fluxgym_tui.runs.teller import Teller

NOBODY = "your-name"  # the owner that stands in a card written while nobody is logged in


def default_repo(run: RunDirectory, account: Account | None) -> str:
    """Where `run` goes if nobody says otherwise: where it went before if that is the account's, else its own name."""
    before = str(published_before(run).get("repo_id", ""))
    if before and (account is None or before.partition("/")[0] in account.owners):
        return before
    return f"{NOBODY if account is None else account.name}/{repo_name(run.name)}"


def repo_name(name: str) -> str:
    """`name` with what no repository's name may have taken out."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).removesuffix(".git")
    return re.sub(r"([.-])[.-]+", r"\1", plain).strip("-.")[:96] or "lora"


def publish_run(
    publication: Publication,
    *,
    private: bool = True,
    replace: bool = False,
    progress: Callable[[UploadProgress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Published:
    """Upload `publication`, and note in the run where it went. Again, it updates; other work only with `replace`.

    Raises:
        FluxgymError: as `hub.publish.publish`. What went up already is not sent again.
    """
    done = publish(
        publication.files,
        repo_id=publication.repo_id,
        private=private,
        ours=_ours(publication),
        replace=replace,
        stale=stale_samples(publication),
        message=f"Publish {publication.weights}",
        progress=progress,
        cancelled=cancelled,
    )
    if publication.run.exists():  # a folder that another program made stays as it is
        try:
            note_published(publication, url=done.url, time=time.time())
        except OSError as error:
            raise FluxgymError(
                f"published at {done.url}, but {publication.run.run_dir} cannot be written: {error.strerror}",
                hint="Nothing is missing there; the next publication only does not know of this one.",
                code=ExitCode.FAILED,
            ) from error
    return done


def _ours(publication: Publication) -> set[str]:
    """Files that make a repository one of this run: its LoRA files, and what it put there before."""
    names = {path.name for path in publication.run.output_dir.glob("*.safetensors")} | {publication.weights}
    before = published_before(publication.run)
    return names | (set(before.get("files", ())) if before.get("repo_id") == publication.repo_id else set())


def _publish_as_child(run: RunDirectory) -> Published:
    _, account = writer()
    repo_id = default_repo(run, account)
    publication = prepare_publication(run, repo_id=repo_id, workspace=run.output_dir.parent.parent)
    teller = Teller()
    teller.event(PhaseEvent(time=time.time(), name="publish", detail=f"{shown_endpoint()}/{repo_id}"))

    def progress(at: UploadProgress) -> None:
        if teller.due() or at.done_bytes == at.total_bytes:
            teller.event(
                ProgressEvent(time=time.time(), phase="publish", done=at.done_bytes, total=at.total_bytes, unit="bytes")
            )

    return publish_run(publication, progress=progress)


def main() -> int:
    """The program: exit code 0, or 1 with the reason on stderr."""
    try:
        done = _publish_as_child(RunDirectory(Path(sys.argv[1])))
    except FluxgymError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this child's log
        return ExitCode.FAILED
    except KeyboardInterrupt:  # how a run is stopped
        print("error: stopped before all was up", file=sys.stderr)  # noqa: T201 - this child's log
        return ExitCode.INTERRUPTED
    print(f"published at {done.url}")  # noqa: T201 - this child's log
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
