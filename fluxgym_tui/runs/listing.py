"""Which runs there are, and finding one by the name or path that a person typed."""

import difflib
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.runs.adopted import adopted_version, is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.state import RunSummary, read_state


def run_directories(outputs: Path) -> list[RunDirectory]:
    """The runs in `outputs`, by name, and nothing else that lies there; empty where the folder is missing.

    Runs of fluxgym count too (`runs.adopted`).
    """
    try:
        folders = sorted(outputs.absolute().iterdir())
    except OSError:
        return []
    return [run for run in map(RunDirectory, folders) if run.manifest.is_file() or is_adopted(run)]


def list_runs(outputs: Path) -> list[RunSummary]:
    """The runs in `outputs` as they stand now, the newest first."""
    found = [read_state(run) for run in run_directories(outputs)]
    return sorted(found, key=lambda summary: (summary.created or 0.0, summary.name), reverse=True)


class RunLister:
    """`list_runs` for those who look again and again: a run whose end is journaled is read anew when it changed."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._known: dict[Path, tuple[tuple[int, ...], RunSummary]] = {}

    def look(self) -> list[RunSummary]:
        """The runs as they stand now, the newest first."""
        known, self._known = self._known, {}
        for run in run_directories(self._outputs):
            version = _version(run)
            before = known.get(run.output_dir)
            if before is None or before[0] != version or not before[1].journaled:
                before = (version, read_state(run))
            self._known[run.output_dir] = before
        found = [summary for _, summary in self._known.values()]
        return sorted(found, key=lambda summary: (summary.created or 0.0, summary.name), reverse=True)


def _version(run: RunDirectory) -> tuple[int, ...]:
    """What changes when anything happens to an ended run: events come, or another attempt is planned."""
    if is_adopted(run):
        return adopted_version(run)
    facts: list[int] = []
    for path in (run.events, run.command):
        try:
            found = path.stat()
        except OSError:
            continue
        facts += [found.st_size, found.st_mtime_ns, found.st_ino]
    return tuple(facts)


def find_run(outputs: Path, name_or_path: str) -> RunDirectory:
    """The run that `name_or_path` means: a name in `outputs`, or the path of its folder or of the `run/` in it.

    Raises:
        FluxgymError: there is none; the hint names the nearest there are.
    """
    path = Path(name_or_path).expanduser()
    candidates = [outputs / name_or_path, path, path.parent] if path.name == "run" else [outputs / name_or_path, path]
    for candidate in candidates:
        run = RunDirectory(candidate.absolute())
        if run.manifest.is_file() or is_adopted(run):
            return run
    names = [run.name for run in run_directories(outputs)]
    near = difflib.get_close_matches(name_or_path, names, n=3) or names[:3]
    hint = f"There is {', '.join(near)}." if near else f"No run was made in {outputs} yet."
    raise FluxgymError(f"there is no run {name_or_path!r} in {outputs}", hint=hint, code=ExitCode.NOT_FOUND)
