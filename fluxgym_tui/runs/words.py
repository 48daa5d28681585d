"""What the command line and the app call the parts of a run."""

from fluxgym_tui.base.events import ProgressEvent
from fluxgym_tui.base.text import transfer_words

PHASE_WORDS = {
    "download": "downloading",
    "prepare": "preparing the pictures",
    "load": "loading the model",
    "cache_latents": "caching the pictures' latents",
    "cache_text": "caching the captions",
    "train": "training",
    "sample": "drawing samples",
    "save": "saving",
    "publish": "publishing",
}


def counted_words(event: ProgressEvent) -> str:
    """How far counted work is: `12/40 pictures`; of bytes, `1.2 GB of 34.2 GB (3%) · 98 MB/s · 5m 30s left · a 5%`."""
    if event.unit != "bytes":
        return item_words(event)
    words = transfer_words(event.done, event.total, rate=event.rate, left_s=event.left_s)
    if event.item is None:
        return words
    share = f" {(event.item_done or 0) * 100 // event.item_total}%" if event.item_total else ""
    return f"{words} · {event.item}{share}"


def item_words(event: ProgressEvent) -> str:
    """The same of the one item at hand, where the event names it: `flux1-dev.sft 1.2 GB of 23.8 GB (5%)`."""
    if event.item is not None and event.unit == "bytes":
        return f"{event.item} {transfer_words(event.item_done or 0, event.item_total)}"
    if event.unit == "bytes":
        return transfer_words(event.done, event.total)
    total = "" if event.total is None else f"/{event.total:,}"
    return f"{event.done:,}{total}" + (f" {event.unit}" if event.unit else "")
