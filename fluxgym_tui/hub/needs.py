"""What a model still needs, said before it is fetched: how much, from where, and whether it may be read."""

from collections.abc import Callable, Sequence

from fluxgym_tui.base.text import count, human_size
from fluxgym_tui.hub.access import check_access
from fluxgym_tui.hub.download import DownloadProgress, Wanted
from fluxgym_tui.hub.find import ModelState


def check_all_access(wanted: Sequence[Wanted], *, asked: Callable[[str], None] | None = None) -> None:
    """Ask for every repository of `wanted` whether it may be read; `asked` is told each before.

    Raises:
        HubError: the first that may not, as `check_access` has it.
    """
    for repo in dict.fromkeys(one.repo for one in wanted):
        if asked is not None:
            asked(repo)
        check_access(repo)


def fetch_words(state: ModelState, wanted: Sequence[Wanted]) -> str:
    """What is to be downloaded, in one line."""
    size = state.bytes_to_fetch
    about = "" if size is None else f", about {human_size(size)}"
    kept = f" ({human_size(state.partial_bytes)} are here already)" if state.partial_bytes else ""
    return f"{count(len(wanted), 'file')} of {state.entry.key} to download{about}{kept}"


def state_words(state: ModelState, wanted: Sequence[Wanted]) -> str:
    """Whether the model is here, in a few words for a line of facts: `here`, `34.2 GB to download`, `not here`."""
    if not wanted:
        return "here" if state.files is not None else "not here"
    size = state.bytes_to_fetch
    return f"{human_size(size) if size else count(len(wanted), 'file')} to download"


def progress_json(at: DownloadProgress) -> dict[str, object]:
    """Where a download stands, for programs."""
    return {
        "kind": "progress",
        "file": at.name,
        "number": at.number,
        "files": at.files,
        "doing": at.doing,
        "done": at.done,
        "total": at.total,
        "all_done": at.all_done,
        "all_total": at.all_total,
        "bytes_per_s": None if at.rate is None else round(at.rate),
        "seconds_left": None if at.left_s is None else round(at.left_s, 1),
    }
