"""The rows of the picture list: what the scan found, put together with the plan and the problems."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.dataset.scanned import Rejected, ScannedImage, ScanResult
from fluxgym_tui.dataset.triggers import has_trigger
from fluxgym_tui.plan.parts import PlannedImage
from fluxgym_tui.plan.planning import TrainPlan
from fluxgym_tui.ui.pictures import Shares

CaptionState = Literal["written", "missing", "no trigger", "to mend", "not trained"]
FILTERS = ("all", "to mend", "without caption", "marked")


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One picture of the folder; `image` is None where it cannot be trained, and `rejected` says why."""

    file: str
    name: str
    image: ScannedImage | None
    rejected: Rejected | None
    caption_state: CaptionState
    problems: tuple[Finding, ...]
    planned: PlannedImage | None

    @property
    def kept(self) -> Shares | None:
        """The part of the upright picture that is trained, None where all of it is, or nothing is known."""
        fit = None if self.planned is None else self.planned.fit
        if fit is None or fit.resized == fit.bucket:
            return None
        left, top, right, bottom = fit.crop
        width, height = fit.resized
        return left / width, top / height, right / width, bottom / height

    @property
    def to_mend(self) -> bool:
        """Whether there is more to say of it than advice."""
        if self.rejected is not None or self.caption_state == "no trigger":
            return True
        return any(finding.severity is not Severity.ADVICE for finding in self.problems)


def picture_rows(scan: ScanResult, *, folder: Path, trigger: str, plan: TrainPlan | None) -> tuple[PictureRow, ...]:
    """A row for each picture in `folder`, trained or not, by name."""
    problems: dict[str, list[Finding]] = defaultdict(list)
    for finding in scan.problems:
        if finding.path is not None:
            problems[finding.path].append(finding)
    planned = {image.image.path: image for image in plan.images} if plan is not None else {}
    prefix = f"{folder}/"
    rows = []
    for image in scan.images:
        said = problems.get(image.file, [])
        if image.caption_file is not None:
            said = [*said, *problems.get(image.caption_file, [])]
        state: CaptionState = "missing" if image.caption is None else "written"
        if trigger and image.caption is not None and not has_trigger(image.caption, trigger):
            state = "no trigger"
        elif image.caption_file is not None and any(one.severity is not Severity.ADVICE for one in said):
            state = "to mend"
        rows.append(
            PictureRow(
                image.file,
                terminal_safe(image.file.removeprefix(prefix)),
                image,
                None,
                state,
                tuple(said),
                planned.get(image.file),
            )
        )
    rows += [
        PictureRow(
            one.file,
            terminal_safe(one.file.removeprefix(prefix)),
            None,
            one,
            "not trained",
            tuple(problems.get(one.file, [])),
            None,
        )
        for one in scan.rejected
    ]
    rows.sort(key=lambda row: row.name)
    return tuple(rows)


def filtered(rows: Sequence[PictureRow], *, kind: str, words: str, marked: set[str]) -> tuple[PictureRow, ...]:
    """Those of `rows` that the filter `kind` keeps and that have `words` in name or caption."""
    if kind == "to mend":
        rows = [row for row in rows if row.to_mend]
    elif kind == "without caption":
        rows = [row for row in rows if row.caption_state == "missing"]
    elif kind == "marked":
        rows = [row for row in rows if row.file in marked]
    if words:
        wanted = words.casefold()
        rows = [
            row
            for row in rows
            if wanted in row.name.casefold() or (row.image and wanted in (row.image.caption or "").casefold())
        ]
    return tuple(rows)
