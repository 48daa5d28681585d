"""What there is to say of one picture and of the whole list, for the Dataset screen."""

from collections.abc import Sequence

from textual.content import Content

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.base.text import count, human_size, terminal_safe
from fluxgym_tui.dataset.caption_edits import CLIP_TOKENS, T5_TOKENS, estimated_tokens
from fluxgym_tui.dataset.captions import trained_caption, untrained_text
from fluxgym_tui.dataset.triggers import has_trigger
from fluxgym_tui.ui.draft_words import LOOKS
from fluxgym_tui.ui.picture_rows import CaptionState, PictureRow
from fluxgym_tui.ui.theme import MUTED

STATE_LOOKS: dict[CaptionState, tuple[str, str, str]] = {
    "written": ("✓", "written", "$success"),
    "missing": ("○", "none", MUTED),
    "no trigger": ("!", "no trigger", "$warning"),
    "to mend": ("!", "to mend", "$warning"),
    "not trained": ("✗", "not trained", "$error"),
}
# Problems that a key of the screen mends.
MENDING_KEYS = {
    "no_caption": "enter writes one",
    "empty_caption": "enter writes one",
    "caption_bom": "c converts it",
    "caption_not_utf8": "c converts it, a backup is kept",
    "caption_binary": "enter writes it anew",
    "multiline_caption": "enter edits it",
}
HEADING_STATE_CELLS = 13


def row_heading(width: int) -> Content:
    """The heading of the list."""
    name = name_cells(width)
    return Content(f"    {'picture':<{name}} {'caption':<{HEADING_STATE_CELLS}} {'size':>11} {'bucket':>9} {'lost':>6}")


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
        f" {size:>11} {bucket:>9} ",
        (f"{lost:>6}", lost_look),
        (f"  {terminal_safe(row.image.caption or '')}", MUTED),
    ).truncate(width, ellipsis=True)


def list_line(rows: Sequence[PictureRow], shown: int, *, folder: str, kind: str, words: str, marked: int) -> Content:
    """The line above the list: folder, how many pictures, filter and marks."""
    rejected = sum(row.rejected is not None for row in rows)
    missing = sum(row.caption_state == "missing" for row in rows)
    parts = [count(len(rows) - rejected, "picture")]
    if missing:
        parts.append(f"{missing:,} without caption")
    if rejected:
        parts.append(f"{rejected:,} not trained")
    if shown != len(rows):
        parts.append(f"{shown:,} shown ({kind}{': ' + terminal_safe(words) if words else ''})")
    if marked:
        parts.append(f"{marked:,} marked")
    return Content.assemble((f" {terminal_safe(folder)}  ", "bold"), " · ".join(parts))


def about_lines(row: PictureRow) -> list[Content]:
    """What there is to say of one picture: file, what is trained of it, problems and the keys that mend them."""
    if row.image is None:
        reason = row.rejected.reason if row.rejected is not None else ""
        lines = [Content.assemble((row.name, "bold"), (f"  ✗ not trained: {terminal_safe(reason)}", "$error"))]
    else:
        turned = f" · turned upright (EXIF {row.image.orientation})" if row.image.orientation != 1 else ""
        size = "{}x{}".format(*row.image.upright_size)
        facts = f"  {size} {row.image.format} {human_size(row.image.size_bytes)}{turned}"
        lines = [Content.assemble((row.name, "bold"), (facts, MUTED)), _trained(row)]
    if row.caption_state == "no trigger":
        lines.append(Content.styled("! the caption lacks the trigger: t adds it", "$warning"))
    for finding in row.problems:
        glyph, colour = LOOKS[finding.severity]
        if finding.code == "no_caption":
            continue  # said above the caption
        detail = f": {finding.detail}" if finding.detail else ""
        mend = MENDING_KEYS.get(finding.code) or finding.fix or ""
        look = MUTED if finding.severity is Severity.ADVICE else colour
        lines.append(Content.assemble((f"{glyph} {terminal_safe(finding.title + detail)}. ", look), mend))
    return lines


def _trained(row: PictureRow) -> Content:
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


def caption_line(text: str, *, trigger: str, problem: str | None) -> Content:
    """The line above the caption: what is trained of it, its tokens, and what it lacks."""
    if problem is not None:
        return Content.styled(f" ✗ the caption cannot be shown: {terminal_safe(problem)}", "$error")
    trained = trained_caption(text)
    if not trained:
        default = f'the trigger "{terminal_safe(trigger)}" is trained' if trigger else "nothing would be told of it"
        return Content.assemble((" caption: none  ", "bold"), (f"{default}; enter writes one", MUTED))
    tokens = estimated_tokens(trained)
    parts: list[str | tuple[str, str]] = [(" caption  ", "bold")]
    over = tokens > T5_TOKENS
    parts.append((f"~{tokens} tokens (CLIP reads {CLIP_TOKENS}, T5 {T5_TOKENS})", "$warning" if over else MUTED))
    if trigger and not has_trigger(trained, trigger):
        parts.append(("  ! lacks the trigger: t", "$warning"))
    if untrained_text(text):
        parts.append(("  ! only the first line is trained", "$warning"))
    return Content.assemble(*parts)
