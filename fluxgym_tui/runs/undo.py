"""Puts a run back as it was, where one more attempt of it was written down and then could not be started."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.runs.children import settled
from fluxgym_tui.runs.commands import read_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.lock import holder_of


@contextlib.contextmanager
def as_it_was_unless_begun(run: RunDirectory) -> Iterator[None]:
    """Undo what is done to the files of `run` inside, where that fails and nothing of the new attempt has begun.

    A run that is written down to go on, and is not begun, would be queued for ever.
    """
    before = {path: _bytes(path) for path in (run.command, run.manifest, run.output_dir / "train.sh")}
    lora = {path.name for path in run.output_dir.glob("*.safetensors")}
    try:
        yield
    except BaseException:
        if holder_of(run.lock) is None and not _begun(run):
            for path, raw in before.items():
                if raw is not None and _bytes(path) != raw:
                    with contextlib.suppress(OSError):  # the disk that failed the attempt may fail this
                        write_atomic(path, raw)
            for path in run.output_dir.glob("*.safetensors"):
                if path.name not in lora:
                    path.unlink(missing_ok=True)
        raise


def _begun(run: RunDirectory) -> bool:
    try:
        plan = read_plan(run)
    except FluxgymError:
        return False
    return any(settled(run.child(child.phase, plan.attempt)).started for child in plan.children)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
