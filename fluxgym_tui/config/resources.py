"""Finds the files that travel with the program: in a wheel beside the code, in a checkout at its top."""

from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError

_PACKAGE = Path(__file__).resolve().parent.parent


def bundled(name: str) -> Path:
    """The bundled file or folder `name`, as `models.yaml` or `examples/tiny-flux`.

    Raises:
        FluxgymError: this installation does not carry it.
    """
    for folder in (_PACKAGE / "_bundled", _PACKAGE.parent):
        path = folder / name
        if path.exists():
            return path
    raise FluxgymError(
        f"this installation of fluxgym-tui lacks its file {name}",
        hint="Install it again: pip install --force-reinstall fluxgym-tui",
        code=ExitCode.MISSING_EXTRA,
    )
