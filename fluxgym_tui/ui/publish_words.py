"""What the screen Publish says: the account, the file that goes up, progress, and the card as people see it."""

from textual.content import Content

from fluxgym_tui.base.text import count, human_size, human_time, terminal_safe
from fluxgym_tui.hub.auth import Account, TokenSource
from fluxgym_tui.hub.publish import UploadProgress, why_not_writable
from fluxgym_tui.runs.checkpoints import Checkpoint
from fluxgym_tui.ui.theme import MUTED

_BAR_CELLS = 20
_ROLES = {"write": "may write", "read": "may only read", "fine-grained": "a fine-grained token"}


def account_words(account: Account) -> str:
    """Who is logged in, and what the token may do: `ada, may write`."""
    if account.role == "fine-grained":
        where = f"may write to {', '.join(account.writes_to)}" if account.writes_to else "may write nowhere"
        return f"{account.name}, {_ROLES['fine-grained']} that {where}"
    return f"{account.name}, {_ROLES.get(account.role or '', 'what the token may do is not known')}"


def account_line(account: Account | None, source: TokenSource | None, why_not: str) -> Content:
    """The line about who is logged in; `why_not` says why that is not known, empty while it is asked."""
    if account is not None and source is not None:
        cannot = why_not_writable(account) is not None
        mark = ("✗ ", "$error") if cannot else ("✓ ", "$success")
        return line("account", Content.assemble(mark, terminal_safe(account_words(account))), source_words(source))
    if not why_not:
        return line("account", Content.styled("being asked ...", MUTED))
    hint = "l takes a token" if source is None else ""
    return line("account", Content.assemble(("✗ ", "$error"), terminal_safe(why_not)), hint)


def seen_line(*, private: bool, mine: bool) -> Content:
    """The line about who will see it."""
    if not private:
        return line("seen by", Content.styled("everybody (public)", "bold $warning"), "t changes it")
    return line("seen by", "only you (private)" if mine else "only the organisation (private)", "t changes it")


def line(label: str, words: Content | str, hint: str = "") -> Content:
    """A line of the form: label, what there is, and the key that changes it or where it comes from."""
    return Content.assemble((f" {label:<12}", MUTED), words, (f"  {hint}", MUTED))


def source_words(source: TokenSource) -> str:
    """Where the token came from."""
    return f"from {source.place}" if source.kind == "environment" else "from Hugging Face's own store"


def why_cannot_write(account: Account, repo_id: str) -> str | None:
    """Why the account cannot publish as `repo_id`, in one line; None where it can."""
    reason = why_not_writable(account, repo_id)
    return None if reason is None else reason.message


def trained_words(checkpoint: Checkpoint, *, picked: bool) -> str:
    """How far the LoRA file was trained, and whether it is the one picked among the samples."""
    return (checkpoint.words or "not known") + (", picked in Samples" if picked else "")


def progress_words(at: UploadProgress, *, seconds: float) -> str:
    """An upload's progress after `seconds`: what, a bar, how much, how fast, how long still."""
    share = at.done_bytes / at.total_bytes if at.total_bytes else 1.0
    full = round(share * _BAR_CELLS)
    line = f"{'█' * full}{'░' * (_BAR_CELLS - full)} {share:4.0%}  {human_size(at.done_bytes)} of "
    line += human_size(at.total_bytes)
    if 0 < at.done_bytes < at.total_bytes and seconds > 1:
        rate = at.done_bytes / seconds
        line += f"  {human_size(rate)}/s  {human_time((at.total_bytes - at.done_bytes) / rate)} left"
    return f"{line}  {terminal_safe(at.doing)}"


def preview_markdown(card: str) -> str:
    """The card for a Markdown widget: as the hub shows it, the gallery in words, and its head as code at the end."""
    _, head, body = card.split("---\n", 2)
    gallery = f"*Here the hub shows {count(head.count('  output:'), 'sample picture')}, each with its prompt.*"
    fence = "```"
    while fence in head:
        fence += "`"
    # Code in one colour: to load the rules for more, or to guess the language, takes 0.1 s and more.
    shown = body.replace("<Gallery />", gallery, 1).replace("```py\n", "```text\n")
    return terminal_safe(
        f"{shown}\n---\n\n*The head of README.md, for the hub:*\n\n{fence}text\n{head}{fence}\n", keep="\n"
    )
