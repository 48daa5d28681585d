"""The child of a run that stages its dataset: `python -m fluxgym_tui.runs.prepare OUTPUT_DIR`, before the trainer."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import PhaseEvent, ProblemEvent, ProgressEvent, WarningEvent
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.base.text import count
from fluxgym_tui.dataset.encoders import Encoders, drop_caches_of_others, note_encoders
from fluxgym_tui.dataset.staging import StagedDataset, StageSource, stage
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.teller import Teller

_FILE = "staging.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingJob:
    """What is staged where: the arguments of `dataset.staging.stage`, and how many pictures the plan counted.

    `encoders` are those of a trainer that takes any cache that is there; None for one that looks for itself.
    """

    sources: tuple[StageSource, ...]
    target: Path
    resize: int
    downscale_only: bool
    planned: int
    keep_alpha: bool = False
    encoders: Encoders | None = None


def write_job(run: RunDirectory, job: StagingJob) -> None:
    """Put `job` where this program, started for `run`, finds it."""
    write_json(
        run.run_dir / _FILE,
        {
            "sources": [
                {
                    "folder": str(source.folder),
                    "trigger": source.trigger,
                    "num_repeats": source.num_repeats,
                    "is_reg": source.is_reg,
                }
                for source in job.sources
            ],
            "target": str(job.target),
            "resize": job.resize,
            "downscale_only": job.downscale_only,
            "planned": job.planned,
            "keep_alpha": job.keep_alpha,
            "encoders": None if job.encoders is None else job.encoders.to_json(),
        },
    )


def read_job(run: RunDirectory) -> StagingJob:
    """The job that `write_job` wrote."""
    data: dict[str, Any] = read_json(run.run_dir / _FILE)
    return StagingJob(
        sources=tuple(
            StageSource(
                Path(source["folder"]),
                trigger=source["trigger"],
                num_repeats=source["num_repeats"],
                is_reg=source["is_reg"],
            )
            for source in data["sources"]
        ),
        target=Path(data["target"]),
        resize=data["resize"],
        downscale_only=data["downscale_only"],
        planned=data["planned"],
        keep_alpha=data.get("keep_alpha", False),  # runs of older versions do not say it
        encoders=Encoders.from_json(data["encoders"]) if data.get("encoders") else None,
    )


def prepare(run: RunDirectory) -> StagedDataset:
    """Stage the run's dataset, telling how it goes.

    Raises:
        FluxgymError: nothing was left to train, or the folder cannot be staged into.
    """
    teller = Teller()

    def progress(done: int, total: int) -> None:
        if teller.due() or done in (1, total):
            teller.event(ProgressEvent(time=time.time(), phase="prepare", done=done, total=total, unit="pictures"))

    teller.event(PhaseEvent(time=time.time(), name="prepare"))
    try:
        job = read_job(run)
        if job.encoders is not None and (stale := drop_caches_of_others(job.target, job.encoders)):
            print(f"removed {count(stale, 'cache')} that other encoders made")  # noqa: T201 - this child's log
        staged = stage(
            job.sources,
            job.target,
            resize=job.resize,
            downscale_only=job.downscale_only,
            keep_alpha=job.keep_alpha,
            progress=progress,
        )
        _need_pictures(staged)
        if job.encoders is not None:
            note_encoders(job.target, job.encoders)
    except (FluxgymError, OSError) as error:
        hint = error.hint if isinstance(error, FluxgymError) else "Check the disk and the folder's permissions."
        title = error.message if isinstance(error, FluxgymError) else f"cannot stage the pictures: {error}"
        teller.event(ProblemEvent(time=time.time(), code="prepare_failed", title=title, fix=hint))
        raise
    staged_count = sum(len(subset.pictures) for subset in staged.subsets)
    if staged_count != job.planned:
        teller.event(
            WarningEvent(
                time=time.time(),
                code="plan_changed",
                title=f"{count(staged_count, 'picture')} will train, not the {job.planned:,} that were planned",
                detail="the folder changed since, or a picture could not be decoded",
            )
        )
    print(f"staged {count(staged_count, 'picture')} in {job.target}")  # noqa: T201 - this child's log
    return staged


def _need_pictures(staged: StagedDataset) -> None:
    if not any(subset.pictures for subset in staged.subsets if not subset.source.is_reg):
        raise FluxgymError("no picture is left to train", hint="`fluxgym-tui scan DIR` says why for each file.")


def main() -> int:
    """The program: exit code 0, or 1 with the reason on stderr."""
    run = RunDirectory(Path(sys.argv[1]))
    try:
        prepare(run)
    except (FluxgymError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this child's log
        return ExitCode.FAILED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
