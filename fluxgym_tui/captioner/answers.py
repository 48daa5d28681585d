"""The seam between the loop and what makes captions: pictures in, answers out in any order."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, Protocol

from fluxgym_tui.dataset.scanned import ScannedImage

CANCELLED: Final = "cancelled"  # the reason of an answer that was broken off on request


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one picture: the captioner's `text` as it is, or None and the `reason`."""

    image: ScannedImage
    text: str | None
    reason: str | None = None


class Captioner(Protocol):
    """Anything that makes captions."""

    def prepare(self, *, say: Callable[[str], None]) -> None:
        """Get ready: load a model, find a server; `say` is told what takes long.

        FluxgymError where no picture could be captioned at all.
        """

    def answers(self, images: Sequence[ScannedImage], *, stop: threading.Event) -> Iterator[Answer]:
        """An answer for each picture, as they come; none is begun after `stop`. FluxgymError ends the job."""
        ...


def in_threads(
    ask: Callable[[ScannedImage], Answer],
    images: Sequence[ScannedImage],
    *,
    concurrency: int,
    stop: threading.Event,
) -> Iterator[Answer]:
    """`ask` for each picture, `concurrency` at a time. What `ask` raises ends it, and nothing more is begun."""
    waiting = iter(images)
    running: set[Future[Answer]] = set()
    pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="caption")
    try:
        while True:
            while len(running) < concurrency and not stop.is_set():
                image = next(waiting, None)
                if image is None:
                    break
                running.add(pool.submit(ask, image))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
