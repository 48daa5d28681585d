"""Starting the captioner's process and reading what it tells, for the command line and the app."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

from fluxgym_tui.captioner.job import KEY_VARIABLE, CaptionJob

_LINE_BYTES: Final = 1 << 20
_ERRORS_BYTES: Final = 4000


class CaptionProcess:
    """A captioner at work. `events` yields what it tells until it ends; `cancel` asks it to end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = b""

    @staticmethod
    async def start(
        job: CaptionJob, *, key: str | None = None, env: Mapping[str, str] | None = None
    ) -> "CaptionProcess":
        """Start it for `job`; `key` is the endpoint's secret and goes by the environment alone."""
        variables = dict(os.environ if env is None else env)
        variables.pop(KEY_VARIABLE, None)
        if key:
            variables[KEY_VARIABLE] = key
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fluxgym_tui.captioner",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=variables,
            limit=_LINE_BYTES,
            start_new_session=True,  # Ctrl+C reaches whoever watches, who then cancels in good order
        )
        assert process.stdin is not None
        process.stdin.write(job.to_text().encode("ascii"))
        with suppress(ConnectionError):
            await process.stdin.drain()
        process.stdin.close()
        return CaptionProcess(process)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Each event; the last is `end`, made here where the process was killed before it could tell."""
        assert self._process.stdout is not None
        reader = asyncio.create_task(self._read_errors())
        ended = False
        async for line in self._process.stdout:
            with suppress(ValueError):
                event = json.loads(line)
                ended = ended or event.get("kind") == "end"
                yield event
        await reader
        code = await self._process.wait()
        if not ended:
            said = self._errors.decode("utf-8", "replace").strip().splitlines()
            reason = f"the captioner was ended ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
            if code in (-9, 137):
                reason += ": most likely there was not enough memory"
            fix = said[-1] if said else "Start again: it goes on where it ended."
            yield {"kind": "end", "outcome": "failed", "reason": reason, "fix": fix}

    def cancel(self) -> None:
        """Ask it to end: what is under way is finished and written."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it at once; captions are written whole or not at all."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _read_errors(self) -> None:
        """Keep the end of what libraries print, and never let the pipe fill up."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(65536):
            self._errors = (self._errors + chunk)[-_ERRORS_BYTES:]
