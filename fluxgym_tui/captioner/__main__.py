"""`python -m fluxgym_tui.captioner`: a job on standard input, JSON Lines on standard output; SIGTERM cancels."""

import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.captioner.job import CaptionJob, check
from fluxgym_tui.captioner.work import make_captioner, run_job


def main() -> int:
    """Do the job; the exit code says how it ended."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not come between the events

    def tell(event: dict[str, Any]) -> None:
        os.write(out, json.dumps(event).encode("ascii") + b"\n")

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        job = CaptionJob.from_text(sys.stdin.read())
        check(job)
        outcome = run_job(job, make_captioner(job), tell=tell, stop=stop)
    except FluxgymError as error:
        tell({"kind": "end", "outcome": "failed", "reason": error.message, "fix": error.hint, "code": int(error.code)})
        return error.code
    except BrokenPipeError:  # nobody watches any more: what was written stays, and the journal knows it
        return ExitCode.STOPPED
    except Exception as error:  # noqa: BLE001 - the top handler: a bug of ours, told with all there is
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        fix = "This is a bug: please report it."
        tell({"kind": "end", "outcome": "failed", "reason": reason, "fix": fix, "code": int(ExitCode.INTERNAL)})
        return ExitCode.INTERNAL
    return ExitCode.STOPPED if outcome == "stopped" else ExitCode.OK


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a load that was broken off is still under way in its thread, and an ordinary exit may trip over it
