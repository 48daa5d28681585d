"""`python -m fluxgym_tui.trainer`: train a FLUX LoRA by sd-scripts' flags (docs/trainer.md)."""

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.flags import help_text, parse
from fluxgym_tui.trainer.options import TrainerOptions
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.stopping import Stopped, StopRequest


def main(arguments: Sequence[str]) -> int:
    """Train; the exit code is one of those that docs/trainer.md lists. A failure is told as an event and in words."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # captions and file names are not the locale's
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if list(arguments) in (["--help"], ["-h"]):
        Reporter().say(help_text())
        return ExitCode.OK
    report = Reporter.from_environment()
    stop = StopRequest()
    stop.listen()
    try:
        return _train(parse(arguments), report=report, stop=stop)
    except Stopped as stopped:
        report.say(str(stopped))
        # The system's own word for it, after all is closed: who waits for us sees that the signal ended us.
        signal.raise_signal(stopped.number)
        return 128 + stopped.number
    except FluxgymError as error:
        code = "training_failed" if error.code is ExitCode.FAILED else "cannot_train"
        report.problem(code, error.message, fix=error.hint)
        return error.code
    except OSError as error:
        report.problem("system", f"The system refused: {error}", fix="Check the disk's room and the permissions.")
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - the top handler: a bug of ours, told with all there is
        traceback.print_exc()
        report.problem(
            "internal", f"{type(error).__name__}: {error}", fix="This is a bug: please report it with the log above."
        )
        return ExitCode.INTERNAL
    finally:
        report.close()


def _train(options: TrainerOptions, *, report: Reporter, stop: StopRequest) -> int:
    # Threads that wait sleep: spinning, on cores that others use too, made a small step on the CPU twenty times slower.
    # It is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from fluxgym_tui.trainer.loop import train  # takes seconds, for torch: a wrong flag is told before
    from fluxgym_tui.trainer.setup import use_all_cores

    use_all_cores()
    try:
        train(options, report=report, stop=stop)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        report.problem(
            "out_of_memory",
            "There is not enough memory for this training.",
            detail=str(error),
            fix="Use mixed_precision bf16, gradient_checkpointing and fp8_base; on a GPU raise blocks_to_swap;"
            " or lower batch size or resolution.",
        )
        return ExitCode.FAILED
    return ExitCode.OK


def out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether `error` is the device's or the CPU's memory being full: PyTorch has no class of its own for the CPU's."""
    import torch  # as above

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in ("can't allocate memory", "CUDA error: out of memory")
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
