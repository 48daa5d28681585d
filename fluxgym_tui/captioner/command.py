"""Captions by any program: a picture's path goes in as an argument, the caption comes out on its standard output."""

import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import one_line
from fluxgym_tui.captioner.answers import CANCELLED, Answer, in_threads
from fluxgym_tui.captioner.job import KEY_VARIABLE, CaptionJob
from fluxgym_tui.dataset.scanned import ScannedImage

_PICTURE: Final = "{picture}"
_POLL_S: Final = 0.2


class Command:
    """The program of `job.command`, run once a picture, without a shell; `FLUXGYM_PROMPT` holds the prompt."""

    def __init__(self, job: CaptionJob) -> None:
        """Split the command.

        Raises:
            FluxgymError: its quotes do not match.
        """
        self._job = job
        try:
            self._words = shlex.split(job.command)
        except ValueError as error:
            raise FluxgymError(
                f"the command {job.command!r} cannot be read: {error}", hint="Check its quotes."
            ) from error
        if not any(_PICTURE in word for word in self._words):
            self._words.append(_PICTURE)
        self._stop = threading.Event()

    def prepare(self, *, say: Callable[[str], None]) -> None:
        """See that the program is there.

        Raises:
            FluxgymError: it is not, or may not be run.
        """
        if shutil.which(self._words[0]) is None:
            raise FluxgymError(
                f"there is no program {self._words[0]!r}",
                hint="Give its full path, and make it executable: chmod +x.",
            )

    def answers(self, images: Sequence[ScannedImage], *, stop: threading.Event) -> Iterator[Answer]:
        """An answer for each picture, several at once; see `Captioner`."""
        self._stop = stop
        return in_threads(self._ask, images, concurrency=self._job.concurrency, stop=stop)

    def _ask(self, image: ScannedImage) -> Answer:
        words = [word.replace(_PICTURE, str(image.path.absolute())) for word in self._words]
        variables = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
        variables["FLUXGYM_PROMPT"] = self._job.question()
        try:
            process = subprocess.Popen(  # a session of its own: what it starts ends with it
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=variables,
                start_new_session=True,
            )
        except OSError as error:
            return Answer(image, None, f"the command could not be started: {error.strerror}")
        out, err, late = self._output(process)
        if late is not None:
            return Answer(image, None, late)
        if process.returncode != 0:
            last = err.decode("utf-8", "replace").strip().splitlines()
            said = f": {one_line(last[-1])[:200]}" if last else ""
            return Answer(image, None, f"the command ended with {process.returncode}{said}")
        return Answer(image, out.decode("utf-8", "replace"))

    def _output(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes, str | None]:
        """Standard output and errors, and why it was ended early, if it was."""
        end = time.monotonic() + self._job.timeout_s
        while True:
            try:
                out, err = process.communicate(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                if self._stop.is_set():
                    reason = CANCELLED
                elif time.monotonic() > end:
                    reason = f"the command took over {self._job.timeout_s:g} s"
                else:
                    continue
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return b"", b"", reason
            return out, err, None
