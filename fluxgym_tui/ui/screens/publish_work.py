"""What the screen Publish has done in threads: looking at the run, asking for the account, uploading, writing."""

import time
from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.message import Message
from textual.worker import Worker, WorkerState, get_current_worker

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.hub.auth import Account, TokenSource, logout, offered_fluxgym_token, token_source, whoami
from fluxgym_tui.hub.library import HubError
from fluxgym_tui.hub.publish import Published, Upload, UploadProgress, write_files
from fluxgym_tui.runs.checkpoints import RunFiles
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.runs.publication import Publication, prepare_publication, publication_of, published_before
from fluxgym_tui.runs.publishing import default_repo, publish_run
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui.messages import ActionFailed
from fluxgym_tui.ui.screens.base import WorkScreen


@dataclass
class Gathered(Message):
    """What can be published now; `publication` is None where the run has no LoRA file, `run` where there is no run."""

    run: RunDirectory | None
    files: RunFiles | None = None
    publication: Publication | None = None
    url_before: str | None = None
    error: FluxgymError | None = None


@dataclass
class AccountKnown(Message):
    """Who is logged in, by which token; `error` says why that is not known."""

    account: Account | None
    source: TokenSource | None
    error: FluxgymError | None = None


@dataclass
class UploadAdvanced(Message):
    """The upload goes on, for `seconds` now."""

    at: UploadProgress
    seconds: float


@dataclass
class UploadEnded(Message):
    """The upload is over: published, or `error`."""

    published: Published | None
    error: FluxgymError | None = None


@dataclass
class RunsFound(Message):
    """The runs to choose from."""

    runs: tuple[RunSummary, ...]


@dataclass
class LoginOffered(Message):
    """The user wants to log in; `old_file` is where fluxgym left a token, told once."""

    old_file: Path | None


class PublishWork(WorkScreen):
    """The work; each piece ends in a message that the screen handles.

    `wanted` is the LoRA file chosen on the screen, `typed` the repository as the user wrote it; None: not said.
    """

    def __init__(self) -> None:
        super().__init__()
        self.run_dir: RunDirectory | None = None
        self.account: Account | None = None
        self.wanted: str | None = None
        self.typed: str | None = None
        self._changed: list[int] = []  # when the run's folders last did

    @property
    def _root(self) -> Path:
        return self.fluxgym.workspace.root

    @work(thread=True, exclusive=True, group="gather", exit_on_error=False)
    def gather(self) -> None:
        """Look at the run, or the newest that has a LoRA file, and at what would go up."""
        import textual.widgets._markdown  # noqa: F401 - for the card: loaded in a thread it keeps no key waiting

        worker = get_current_worker()
        run = self.run_dir or self._newest()
        message = Gathered(run)
        if run is not None:
            try:
                message = self._gathered(run)
            except FluxgymError as error:
                message.error = error
            except OSError as error:  # a file that went away meanwhile
                message.error = FluxgymError(f"{error.filename or run.output_dir} cannot be read: {error.strerror}")
        if not worker.is_cancelled:
            self.post_message(message)

    def _gathered(self, run: RunDirectory) -> Gathered:
        files = RunFiles(run)
        if not files.checkpoints:
            return Gathered(run, files)
        names = {one.path.name for one in files.checkpoints}
        chosen = files.choose(self.wanted if self.wanted in names else None)
        repo_id = self.typed if self.typed is not None else default_repo(run, self.account)
        try:
            publication = publication_of(files, chosen, repo_id=repo_id, workspace=self._root)
        except FluxgymError as error:  # a broken file: another of the run may be whole
            return Gathered(run, files, error=error)
        before = published_before(run)
        url_before = str(before["url"]) if before.get("repo_id") == repo_id and "url" in before else None
        return Gathered(run, files, publication, url_before)

    def _newest(self) -> RunDirectory | None:
        for summary in list_runs(self._root / "outputs"):
            if any(summary.path.glob("*.safetensors")):
                return RunDirectory(summary.path)
        return None

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def look(self) -> None:
        """Gather anew where a LoRA file or a sample came or went since, as a run that goes on has them come."""
        if self.run_dir is None:
            return
        changed = []
        for folder in (self.run_dir.output_dir, self.run_dir.samples):
            try:
                changed.append(folder.stat().st_mtime_ns)
            except OSError:  # not there yet, or no more
                changed.append(0)
        before, self._changed = self._changed, changed
        if before and before != changed:
            self.app.call_from_thread(self.gather)

    @work(thread=True, exclusive=True, group="runs", exit_on_error=False)
    def find_runs(self) -> None:
        """Look for the runs to choose from."""
        self.post_message(RunsFound(tuple(list_runs(self._root / "outputs"))))

    @work(thread=True, exclusive=True, group="account", exit_on_error=False)
    def ask_account(self) -> None:
        """Ask Hugging Face who the token of this machine belongs to."""
        source = None
        try:
            source = token_source()
            self.post_message(AccountKnown(None if source is None else whoami(source.token), source))
        except HubError as error:
            self.post_message(AccountKnown(None, source, error))

    @work(thread=True, exclusive=True, group="login", exit_on_error=False)
    def offer_login(self) -> None:
        """Look whether fluxgym left a token here, before the window opens."""
        self.post_message(LoginOffered(offered_fluxgym_token(self._root)))

    @work(thread=True, exclusive=True, group="login", exit_on_error=False)
    def log_out(self) -> None:
        """Remove the stored token."""
        try:
            logout()
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            return
        self.app.call_from_thread(self.app.notify, "Logged out: the stored token was removed from this machine.")
        self.app.call_from_thread(self.ask_account)

    @work(thread=True, exclusive=True, group="upload", exit_on_error=False)
    def upload(self, run: RunDirectory, lora: Path, *, repo_id: str, private: bool, replace: bool) -> None:
        """Read every number of the LoRA, then publish it."""
        worker = get_current_worker()
        began_s = told_s = time.monotonic()
        pace_s = self.fluxgym.repaint_s

        def progress(at: UploadProgress) -> None:
            nonlocal told_s
            now_s = time.monotonic()
            if now_s - told_s >= pace_s or at.done_bytes == at.total_bytes:
                told_s = now_s
                self.post_message(UploadAdvanced(at, now_s - began_s))

        try:
            publication = prepare_publication(run, repo_id=repo_id, checkpoint=str(lora), workspace=self._root)
            done = publish_run(
                publication,
                private=private,
                replace=replace,
                progress=progress,
                cancelled=lambda: worker.is_cancelled,
            )
        except FluxgymError as error:
            self.post_message(UploadEnded(None, error))
        else:
            self.post_message(UploadEnded(done))

    @work(thread=True, exclusive=True, group="dry-run", exit_on_error=False)
    def write_dry_run(self, files: tuple[Upload, ...], folder: Path) -> None:
        """Write what would go up."""
        try:
            write_files(files, folder)
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            return
        self.app.call_from_thread(self.app.notify, f"Written to {folder}; nothing was uploaded.")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """An upload that ended by a bug of ours has ended, too."""
        super().on_worker_state_changed(event)
        if event.worker.group == "upload" and event.state is WorkerState.ERROR:
            self.post_message(UploadEnded(None, FluxgymError("the upload ended by an error of this program")))
