"""The rows of the picture list: what the scans found, put together with the plan and the problems."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.dataset.problems import problem
from fluxgym_tui.dataset.scanned import Rejected, ScannedImage, ScanResult
from fluxgym_tui.dataset.triggers import has_trigger
from fluxgym_tui.plan.parts import PlannedImage
from fluxgym_tui.ui.pictures import Shares

if TYPE_CHECKING:
    from fluxgym_tui.dataset.staging import StageSource
    from fluxgym_tui.plan.planning import TrainPlan

CaptionState = Literal["written", "missing", "no trigger", "to mend", "not trained"]
FILTERS = ("all", "to mend", "without caption", "marked")


@dataclass(frozen=True, slots=True)
class PictureRow:
    """One picture; `image` is None where it cannot be trained, and `rejected` says why.

    `source` is the number of its folder among those that are trained, and `trigger` what captions there should have.
    """

    file: str
    name: str
    image: ScannedImage | None
    rejected: Rejected | None
    caption_state: CaptionState
    problems: tuple[Finding, ...]
    planned: PlannedImage | None
    source: int = 0
    trigger: str = ""

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
        return self.rejected is not None or any(one.severity is not Severity.ADVICE for one in self.problems)


def picture_rows(
    sources: "Sequence[StageSource]", scans: Mapping[Path, ScanResult], *, plan: "TrainPlan | None"
) -> tuple[PictureRow, ...]:
    """A row for each picture, trained or not: folder by folder, by name. A folder that stands twice is told once."""
    planned = {image.image.path: image for image in plan.images} if plan is not None else {}
    rows: list[PictureRow] = []
    told: set[Path] = set()
    for number, source in enumerate(sources):
        if source.folder in scans and source.folder not in told:
            told.add(source.folder)
            rows += _rows_of(source, number, scans[source.folder], planned)
    return tuple(rows)


def _rows_of(
    source: "StageSource", number: int, scan: ScanResult, planned: Mapping[str, PlannedImage]
) -> list[PictureRow]:
    problems: dict[str, list[Finding]] = defaultdict(list)
    for finding in scan.problems:
        if finding.path is not None:
            problems[finding.path].append(finding)
    prefix = f"{source.folder}/"
    before = f"{source.folder.name}/" if number else ""
    trigger = "" if source.is_reg else (source.trigger or "")
    rows = []
    for image in scan.images:
        said = problems.get(image.file, [])
        if image.caption_file is not None:
            said = [*said, *problems.get(image.caption_file, [])]
        state: CaptionState = "missing" if image.caption is None else "written"
        if trigger and image.caption is not None and not has_trigger(image.caption, trigger):
            state = "no trigger"
            said = [*said, problem("no_trigger", path=image.caption_file or image.file, detail=trigger)]
        elif image.caption_file is not None and any(one.severity is not Severity.ADVICE for one in said):
            state = "to mend"
        name = terminal_safe(before + image.file.removeprefix(prefix))
        rows.append(
            PictureRow(image.file, name, image, None, state, tuple(said), planned.get(image.file), number, trigger)
        )
    for one in scan.rejected:
        name = terminal_safe(before + one.file.removeprefix(prefix))
        said = problems.get(one.file, [])
        rows.append(PictureRow(one.file, name, None, one, "not trained", tuple(said), None, number, trigger))
    rows.sort(key=lambda row: row.name)
    return rows


def filtered(
    rows: Sequence[PictureRow], *, kind: str, words: str, marked: set[str], source: int | None = None
) -> tuple[PictureRow, ...]:
    """Those of `rows` that the filter `kind` keeps, of the folder `source` where one is named, with `words` in name or
    caption."""
    if source is not None:
        rows = [row for row in rows if row.source == source]
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


def problems_of(rows: Sequence[PictureRow], scans: Sequence[ScanResult]) -> list[Finding]:
    """All there is to mend, the worst first: what the scans found, and captions that lack their trigger."""
    found = [one for scan in scans for one in scan.problems]
    found += [one for row in rows if row.caption_state == "no trigger" for one in row.problems[-1:]]
    order = list(Severity)
    return sorted(found, key=lambda one: order.index(one.severity))
