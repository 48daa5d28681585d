"""What there is to say of one picture and of the whole list, for the Dataset screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.base.text import count, human_size, terminal_safe
from fluxgym_tui.dataset.caption_edits import CLIP_TOKENS, estimated_tokens
from fluxgym_tui.dataset.captions import trained_caption, untrained_text
from fluxgym_tui.dataset.triggers import has_trigger
from fluxgym_tui.ui.draft_words import LOOKS
from fluxgym_tui.ui.mending import mending_words
from fluxgym_tui.ui.picture_rows import FILTERS, CaptionState, PictureRow
from fluxgym_tui.ui.theme import MUTED

if TYPE_CHECKING:
    from fluxgym_tui.dataset.staging import StageSource
    from fluxgym_tui.dataset.tokens import TokenCounts

STATE_LOOKS: dict[CaptionState, tuple[str, str, str]] = {
    "written": ("✓", "written", "$success"),
    "missing": ("○", "none", MUTED),
    "no trigger": ("!", "no trigger", "$warning"),
    "to mend": ("!", "to mend", "$warning"),
    "not trained": ("✗", "not trained", "$error"),
}
HEADING_STATE_CELLS = 13


def row_heading(width: int) -> Content:
    """The heading of the list."""
    name = name_cells(width)
    return Content(
        f"    {'picture':<{name}} {'caption':<{HEADING_STATE_CELLS}} {'size':>12}  {'bucket':>9} {'lost':>6}"
    )


def name_cells(width: int) -> int:
    """How wide names are shown."""
    return max(16, min(32, width - 60))


def row_line(row: PictureRow, width: int, *, marked: bool) -> Content:
    """One row of the list."""
    glyph, word, colour = STATE_LOOKS[row.caption_state]
    name = Content(row.name).truncate(name_cells(width), ellipsis=True, pad=True)
    if row.image is None:
        reason = row.rejected.reason if row.rejected is not None else ""
        return Content.assemble(
            "● " if marked else "  ", name.stylize(MUTED), (f" {glyph} {word} ", colour), (terminal_safe(reason), MUTED)
        ).truncate(width, ellipsis=True)
    size = "{}x{}".format(*row.image.upright_size)
    bucket, lost = "", ""
    lost_look = MUTED
    if row.planned is not None and row.planned.fit is not None:
        bucket = "{}x{}".format(*row.planned.fit.bucket)
        lost = f"{row.planned.fit.lost:.1%}"
        lost_look = "$warning" if row.planned.fit.lost >= 0.1 else MUTED
    return Content.assemble(
        "● " if marked else "  ",
        name.stylize("bold"),
        (f" {glyph} {word:<{HEADING_STATE_CELLS - 2}}", colour),
        (" !" if row.to_mend and glyph != "!" else "  ", "$warning"),
        f"{size:>11}{'↻' if row.image.orientation != 1 else ' '} {bucket:>9} ",
        (f"{lost:>6}", lost_look),
        (f"  {terminal_safe(row.image.caption or '')}", MUTED),
    ).truncate(width, ellipsis=True)


def list_line(
    rows: Sequence[PictureRow],
    shown: int,
    *,
    width: int,
    sources: "Sequence[StageSource]",
    source: int | None,
    kind: str,
    words: str,
    marked: int,
    by_hand: bool = False,
) -> Content:
    """The line above the list: which folder and how it is trained, how many pictures, filter and marks.

    The folder's path gives way where `width` cells are not enough. `by_hand` is set where a dataset.toml that was
    edited decides how often pictures are trained.
    """
    here = rows if source is None else [row for row in rows if row.source == source]
    rejected = sum(row.rejected is not None for row in here)
    missing = sum(row.caption_state == "missing" for row in here)
    parts = [count(len(here) - rejected, "picture")]
    if missing:
        parts.append(f"{missing:,} without caption")
    if rejected:
        parts.append(f"{rejected:,} not trained")
    if shown != len(here) or kind != FILTERS[0] or words:
        parts.append(f"{shown:,} shown ({kind}{': ' + terminal_safe(words) if words else ''})")
    if marked:
        parts.append(f"{marked:,} marked")
    told = " · ".join(parts)
    place, how = _folder_words(sources, source, by_hand=by_hand)
    room = max(8, width - len(told) - len(how) - 3)
    if len(place) > room:
        place = f"…{place[len(place) - room + 1 :]}"
    return Content.assemble((f" {place}{how}  ", "bold"), told)


def _folder_words(sources: "Sequence[StageSource]", source: int | None, *, by_hand: bool) -> tuple[str, str]:
    """Which folder is shown, and how it is trained."""
    if not sources:
        return "", ""
    if len(sources) > 1 and source is None:
        return f"all {len(sources)} folders (s shows one)", ""
    one = sources[source or 0]
    number = f"{(source or 0) + 1}/{len(sources)} " if len(sources) > 1 else ""
    how = "dataset.toml by hand" if by_hand else source_words(one)
    return number + terminal_safe(str(one.folder)), f" · {how}"


def source_words(source: "StageSource") -> str:
    """How a folder is trained: `10 repeats`, and whether its pictures are for regularisation."""
    return count(source.num_repeats, "repeat") + (" · regularisation" if source.is_reg else "")


def about_lines(row: PictureRow, *, source: "StageSource | None" = None, no_plan: str = "") -> list[Content]:
    """What there is to say of one picture: file, what is trained of it, problems and the keys that mend them.

    `source` is given where there are several folders: how this one is trained is told, then. `no_plan` says why there
    is no plan, where that is known.
    """
    if row.image is None:
        reason = row.rejected.reason if row.rejected is not None else ""
        lines = [Content.assemble((row.name, "bold"), (f"  ✗ not trained: {terminal_safe(reason)}", "$error"))]
    else:
        turned = f" · turned upright (EXIF {row.image.orientation})" if row.image.orientation != 1 else ""
        size = "{}x{}".format(*row.image.upright_size)
        of = "" if source is None else f" · {source_words(source)}"
        facts = f"  {size} {row.image.format} {human_size(row.image.size_bytes)}{turned}{of}"
        lines = [Content.assemble((row.name, "bold"), (facts, MUTED)), _trained(row, no_plan)]
    for finding in row.problems:
        glyph, colour = LOOKS[finding.severity]
        if finding.code == "no_caption":
            continue  # said above the caption
        detail = f": {finding.detail}" if finding.detail else ""
        look = MUTED if finding.severity is Severity.ADVICE else colour
        lines.append(
            Content.assemble((f"{glyph} {terminal_safe(finding.title + detail)}. ", look), mending_words(finding))
        )
    return lines


def _trained(row: PictureRow, no_plan: str) -> Content:
    if row.planned is None and no_plan:
        return Content.styled(f"✗ no plan: {terminal_safe(no_plan)}", "$error")
    if row.planned is None:
        return Content.styled("no plan yet: what is cut off shows here", MUTED)
    fit = row.planned.fit
    if fit is None:
        return Content.styled("✗ has no bucket: too thin for these settings", "$error")
    size = row.planned.image.size
    resized = "" if fit.resized == size else " resized to {}x{},".format(*fit.resized)
    bucket = "{}x{}".format(*fit.bucket)
    cut = [
        f"{side} {pixels}"
        for side, pixels in zip(("left", "top", "right", "bottom"), fit.trimmed, strict=True)
        if pixels
    ]
    if not cut:
        return Content(f"trained whole:{resized} bucket {bucket}")
    look = "$warning" if fit.lost >= 0.1 else ""
    return Content.assemble(
        f"trained{resized} cut to {bucket}: ", (f"{fit.lost:.1%} lost", look), f" ({' '.join(cut)} px)"
    )


def caption_line(
    text: str, *, trigger: str, problem: str | None, counts: "TokenCounts | None" = None, t5_tokens: int = 512
) -> Content:
    """The line above the caption: what is trained of it, its tokens, and what it lacks.

    `counts` are its tokens by the tokenizers themselves, where those are here; T5 reads `t5_tokens` of them.
    """
    if problem is not None:
        return Content.styled(f" ✗ the caption cannot be shown: {terminal_safe(problem)}", "$error")
    trained = trained_caption(text)
    if not trained:
        default = f'the trigger "{terminal_safe(trigger)}" is trained' if trigger else "nothing would be told of it"
        return Content.assemble((" caption: none  ", "bold"), (f"{default}; enter writes one", MUTED))
    if counts is not None and counts.text != trained:
        counts = None  # of what stood here before
    parts: list[str | tuple[str, str]] = [(" caption  ", "bold")]
    parts.append(_tokens("CLIP", None if counts is None else counts.clip, trained, limit=CLIP_TOKENS))
    parts.append(_tokens("T5", None if counts is None else counts.t5, trained, limit=t5_tokens))
    if trigger and not has_trigger(trained, trigger):
        parts.append(("! lacks the trigger: t  ", "$warning"))
    if untrained_text(text):
        parts.append(("! only the first line is trained", "$warning"))
    return Content.assemble(*parts)


def _tokens(encoder: str, exact: int | None, text: str, *, limit: int) -> tuple[str, str]:
    """`CLIP 31/77`, with a `~` where it is estimated. FLUX reads captions through T5; of CLIP it takes a summary."""
    number = estimated_tokens(text) if exact is None else exact
    told = f"{encoder} {'~' if exact is None else ''}{number:,}/{limit}"
    if number <= limit:
        return f"{told}  ", MUTED
    if encoder == "CLIP":
        return f"{told}: cut for CLIP only, T5 reads on  ", MUTED
    return f"{told}: what is beyond is not trained  ", "$warning"
