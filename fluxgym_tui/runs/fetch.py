"""The child of a run that fetches what its base model lacks: `python -m fluxgym_tui.runs.fetch OUTPUT_DIR`, first."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import PhaseEvent, ProblemEvent, ProgressEvent
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.base.text import count, transfer_words
from fluxgym_tui.hub.download import DownloadProgress, Wanted, download
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.teller import Teller

_FILE = "download.json"
_LOG_EVERY_S = 10.0


def write_wanted(run: RunDirectory, wanted: Sequence[Wanted]) -> None:
    """Put `wanted` where this program, started for `run`, finds it. OSError."""
    write_json(run.run_dir / _FILE, {"files": [one.to_json() for one in wanted]})


def read_wanted(run: RunDirectory) -> list[Wanted]:
    """What `write_wanted` wrote."""
    return [Wanted.from_json(one) for one in read_json(run.run_dir / _FILE)["files"]]


def fetch(run: RunDirectory) -> list[Path]:
    """Fetch what is not there yet, telling how it goes; the files that came. The token is this machine's own.

    Raises:
        FluxgymError: as `hub.download.download`; what has come is kept, and the next attempt goes on from there.
    """
    teller = Teller()
    left = [one for one in read_wanted(run) if not one.target.is_file()]
    if not any(one.required for one in left):
        left = []  # an earlier attempt fetched them: nobody needs to be asked
    teller.event(PhaseEvent(time=time.time(), name="download", detail=count(len(left), "file")))
    try:
        return download(left, tell=_Telling(teller)) if left else []
    except FluxgymError as error:
        teller.event(ProblemEvent(time=time.time(), code="download_failed", title=error.message, fix=error.hint))
        raise


class _Telling:
    """Progress as events, and now and then as a line of the child's log."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._logged_at = time.monotonic()

    def __call__(self, at: DownloadProgress) -> None:
        whole = at.done == at.total
        if not (self._teller.due() or whole):
            return
        self._teller.event(
            ProgressEvent(
                time=time.time(),
                phase="download",
                done=at.all_done,
                total=at.all_total,
                unit="bytes",
                item=at.name if at.doing == "downloading" else f"{at.name} ({at.doing})",
                item_done=at.done,
                item_total=at.total,
                rate=at.rate,
                left_s=at.left_s,
            )
        )
        if whole or time.monotonic() - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = time.monotonic()
            words = transfer_words(at.all_done, at.all_total, rate=at.rate, left_s=at.left_s)
            print(f"{at.name} {transfer_words(at.done, at.total)} · total {words}", flush=True)  # noqa: T201


def main() -> int:
    """The program: exit code 0, or 1 with the reason on stderr."""
    try:
        fetch(RunDirectory(Path(sys.argv[1])))
    except FluxgymError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this child's log
        return ExitCode.FAILED
    except KeyboardInterrupt:
        print("stopped; what has come is kept", file=sys.stderr)  # noqa: T201
        return ExitCode.INTERRUPTED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
