"""The sample pictures of sd-scripts, which its log does not name: what their file names say."""

import re
from pathlib import Path

from fluxgym_tui.base.events import SampleEvent

# NAME_{step:06d}_{prompt:02d}_{YYYYmmddHHMMSS}[_{seed}].png, with e{epoch:06d} where samples go by epochs.
_NAME = re.compile(r".+_(?:e(?P<epoch>\d{6,})|(?P<step>\d{6,}))_(?P<prompt>\d{2,})_\d{14}(?:_(?P<seed>\d+))?\.png")
_END_OF_PNG = b"IEND\xaeB`\x82"


def sample_event(path: Path, *, time: float) -> SampleEvent | None:
    """The event for the picture at `path`, made at `time`; None where the name is none of sd-scripts'."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    found = {name: None if value is None else int(value) for name, value in match.groupdict().items()}
    return SampleEvent(
        time=time,
        path=str(path),
        prompt_index=found["prompt"] or 0,
        step=found["step"],
        epoch=found["epoch"],
        seed=found["seed"],
    )


def is_whole(path: Path) -> bool:
    """Whether the PNG at `path` was written to its end: sd-scripts writes it in place."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            if file.tell() < len(_END_OF_PNG):
                return False
            file.seek(-len(_END_OF_PNG), 2)
            return file.read() == _END_OF_PNG
    except OSError:
        return False
