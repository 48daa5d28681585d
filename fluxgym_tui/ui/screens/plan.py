"""Plan: what will happen: buckets, steps, files to come, and what there is to say about it."""

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.plan.parts import PlannedBucket, PlannedImage
from fluxgym_tui.plan.planning import TrainPlan
from fluxgym_tui.plan.words import checkpoints_words, length_words, samples_words
from fluxgym_tui.ui.actions import Action, bindings
from fluxgym_tui.ui.draft_words import finding_counts, finding_rows, time_words
from fluxgym_tui.ui.outside import copy_text
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.screens.draft_screen import DraftScreen, draft_actions
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList

EMPTY = """\
There is no plan yet: {why}.

A plan needs a folder of pictures (1, Dataset) and settings that can be
read (2, Parameters). It then tells at which size each picture is trained,
what is cut off, how many steps that makes, and why."""

HEADING = f"  {'bucket':<11} {'pictures':>8} {'repeated':>9} {'batches':>8} {'kept':>7} {'cropped':>9}{'enlarged':>9}"
_TOLD_LOSS = 0.02
_ENLARGED = 1.001


@dataclass(frozen=True, slots=True)
class BucketRow:
    """A bucket with what becomes of its pictures: the mean share kept, how many are cropped (over 2%), enlarged."""

    bucket: PlannedBucket
    images: tuple[PlannedImage, ...]
    kept: float
    cropped: int
    enlarged: int
    lonely: bool


def bucket_rows(plan: TrainPlan) -> list[BucketRow]:
    """The rows of the bucket table."""
    inside: dict[tuple[int, tuple[int, int]], list[PlannedImage]] = defaultdict(list)
    for image in plan.images:
        if image.fit is not None:
            inside[image.dataset, image.fit.bucket].append(image)
    rows = []
    for bucket in plan.buckets:
        images = inside[bucket.dataset, bucket.size]
        losses = [image.fit.lost for image in images if image.fit is not None]
        batch_size = plan.datasets[bucket.dataset].batch_size
        rows.append(
            BucketRow(
                bucket=bucket,
                images=tuple(images),
                kept=1 - sum(losses) / max(1, len(losses)),
                cropped=sum(loss >= _TOLD_LOSS for loss in losses),
                enlarged=sum(image.enlarged > _ENLARGED for image in images),
                lonely=bucket.repeated < batch_size or bucket.images == 1 < batch_size,
            )
        )
    return rows


class PlanScreen(DraftScreen):
    """The plan of the draft."""

    NAME = "plan"
    CSS_PATH = "plan.tcss"
    HELP_TITLE = "Plan"
    HELP_TEXT = (
        "Pictures of a like shape are trained together, in a bucket. What the plan counts is what will be trained:\n"
        "the pictures as they lie in the folder now."
    )
    ACTIONS = (
        *draft_actions("plan"),
        Action(id="plan.pictures", keys="p", label="pictures", action="pictures",
               help="List the pictures of the bucket under the cursor (enter, too)."),
        Action(id="plan.copy", keys="y", label="copy", action="copy", shown=False,
               help="Copy the plan as text: steps, buckets and findings."),
        Action(id="plan.look", keys="r", label="count again", help="Read the folder and count anew.", action="look"),
    )  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[BucketRow] = []

    def compose_body(self) -> ComposeResult:
        yield Static("", id="empty", classes="empty", markup=False)
        with Vertical(id="plan"):
            yield Static("", id="steps")
            yield LineList(id="buckets", help_title="The buckets")
            yield Static("", id="verdict")
            with VerticalScroll(id="findings"):
                yield Static("", id="said")

    def on_mount(self) -> None:
        self.query_one("#plan").display = False
        self.query_one("#empty").display = False
        self.query_one("#buckets").focus()

    def show_draft(self) -> None:
        """Show the plan, or what is missing for one."""
        ready = self.draft.ready
        shown = ready is not None
        self.query_one("#plan").display = shown
        empty = self.query_one("#empty", Static)
        empty.display = not shown and self.draft.opened
        if ready is None:
            why = self.draft.problem or self.draft.ready_problem or "it is being made"
            empty.update(EMPTY.format(why=terminal_safe(why.rstrip("."), keep="\n")))
            return
        plan = ready.plan.plan
        self.rows = bucket_rows(plan)
        buckets = self.query_one("#buckets", LineList)
        buckets.show(len(self.rows), self._row, heading=Content(HEADING))
        buckets.styles.max_height = len(self.rows) + 1
        self.query_one("#steps", Static).update(Content("\n").join(self._steps(plan)))
        self.query_one("#verdict", Static).update(finding_counts(ready.findings, here=True))
        self.query_one("#said", Static).update(Content("\n").join(finding_rows(ready.findings)))

    def _steps(self, plan: TrainPlan) -> list[Content]:
        lines = [Content.styled(length_words(plan), "bold")]
        if not self.draft.planned:
            lines.append(Content.styled("The settings changed; this is being counted again.", "$warning"))
        if plan.trains and plan.steps.total is not None:
            lines.append(Content(samples_words(plan)))
            lines.append(Content(checkpoints_words(plan)))
            lines.append(Content(f"time: {time_words(self.draft, plan.steps.total)}"))
        return lines

    def _row(self, number: int, width: int) -> Content:
        row = self.rows[number]
        bucket = row.bucket
        size = f"{bucket.size[0]}x{bucket.size[1]}"
        note = "lonely" if row.lonely else ""
        cropped = ("$warning", f"{row.cropped:>9,}") if row.cropped else (MUTED, f"{'-':>9}")
        enlarged = ("$warning", f"{row.enlarged:>9,}") if row.enlarged else (MUTED, f"{'-':>9}")
        line = Content.assemble(
            f"{size:<11} {bucket.images:>8,} {bucket.repeated:>9,} {bucket.batches:>8,} {row.kept:>7.1%} ",
            (cropped[1], cropped[0]),
            (enlarged[1], enlarged[0]),
            (f"  {note}", "$warning"),
        )
        return line.truncate(width)

    def why_not(self, action: str) -> str | None:
        """What cannot be done now."""
        if action == "pictures" and not self.rows:
            return "there is no bucket"
        if action == "copy" and self.draft.ready is None:
            return "there is no plan yet"
        if action == "look" and not self.draft.has_folder:
            return "no folder of pictures is chosen"
        return super().why_not(action)

    @on(LineList.Chosen, "#buckets")
    def _chosen(self, message: LineList.Chosen) -> None:
        self.app.push_screen(BucketPictures(self.rows[message.row]))

    def action_pictures(self) -> None:
        """List the bucket's pictures."""
        self.query_one("#buckets", LineList).action_choose()

    def action_copy(self) -> None:
        """Copy the plan as it is shown."""
        ready = self.draft.ready
        if ready is None:
            return
        rows = [HEADING, *(f"  {self._row(number, 100)}" for number in range(len(self.rows)))]
        said = [str(line) for line in finding_rows(ready.findings)]
        lines = [*(str(line) for line in self._steps(ready.plan.plan)), *rows, *said]
        copy_text(self.fluxgym, "\n".join(line.rstrip() for line in lines) + "\n", "the plan")

    def action_look(self) -> None:
        """Count anew."""
        self._look(rescan=True)


class BucketPictures(Dialog[None]):
    """The pictures of one bucket: size, what it is resized to, what is cut."""

    def __init__(self, row: BucketRow) -> None:
        super().__init__()
        self._shown = row

    def compose(self) -> ComposeResult:
        size = self._shown.bucket.size
        with Vertical(classes="dialog wide"):
            yield Static(f"The pictures of bucket {size[0]}x{size[1]}", classes="dialog-title")
            yield LineList(help_title="The pictures")
            yield Static("esc closes", classes="muted")

    def on_mount(self) -> None:
        listed = self.query_one(LineList)
        heading = Content(f"  {'picture':<34} {'size':>11} {'resized to':>11}   lost  cut off (px)")
        listed.show(len(self._shown.images), self._row, heading=heading)
        listed.focus()

    def _row(self, number: int, width: int) -> Content:
        planned = self._shown.images[number]
        assert planned.fit is not None  # only pictures with a bucket are in one
        name = Content(terminal_safe(planned.image.name)).truncate(34, ellipsis=True, pad=True)
        fit = planned.fit
        resized = "as it is" if fit.resized == planned.image.size else f"{fit.resized[0]}x{fit.resized[1]}"
        size = f"{planned.image.width}x{planned.image.height}"
        return Content.assemble(
            name, f" {size:>11} {resized:>11} {fit.lost:>6.1%}  ", (cut_words(fit.trimmed), MUTED)
        ).truncate(width)


def cut_words(trimmed: tuple[int, int, int, int]) -> str:
    """`left 3 right 3`, the pixels cut from each side; `nothing` where none are."""
    sides = zip(("left", "top", "right", "bottom"), trimmed, strict=True)
    return " ".join(f"{side} {pixels}" for side, pixels in sides if pixels) or "nothing"
