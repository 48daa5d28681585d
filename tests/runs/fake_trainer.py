"""A fake trainer: it writes the events that a real one writes, and misbehaves as its flags say. It trains nothing.

Started by the real wrapper and supervisor in place of `fluxgym_tui.trainer`, where a test needs a trainer that hangs,
crashes or ignores signals at a chosen moment.
"""

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    flags = _flags()
    say = Path(os.environ["FLUXGYM_EVENTS"]).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115
    if flags.ignore:
        for name in flags.ignore.split(","):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if flags.helper:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if flags.started is not None:
        flags.started.open("a").write(f"{os.getpid()}\n")

    def event(kind: str, **facts: object) -> None:
        say.write(json.dumps({"kind": kind, "schema": 1, "time": time.time(), **facts}) + "\n")

    event("phase", name=flags.phase)
    sys.stdout.write(f"fake trainer: {flags.steps} steps\n")
    sys.stdout.flush()

    def reach(phase: str) -> None:
        event("phase", name=phase)
        if flags.wait_in == phase:
            _wait_for(flags.wait_for)

    for phase in ("cache_latents", "cache_text", "load", "train") if flags.wait_in else ():
        reach(phase)
    probes = [float(loss) for loss in flags.probes.split(",") if loss]
    if probes:
        event("probe", when="before", loss=probes[0], step=0, pictures=3)
    for step in range(1, flags.steps + 1):
        if flags.wait_at == step:
            _wait_for(flags.wait_for)
        if flags.phase == "train":
            event("step", step=step, total=flags.steps, epoch=1, loss=1.0 / step, seconds=flags.step_s)
        else:
            event("progress", phase=flags.phase, done=step, total=flags.steps)
        if flags.checkpoint_every and step % flags.checkpoint_every == 0:
            event("checkpoint", path=f"fake-{step:06d}.safetensors", step=step, epoch=1)
        if flags.crash_at == step:
            sys.stderr.write(
                "Traceback (most recent call last):\n  File 'fake.py'\nRuntimeError: CUDA error: it broke\n"
            )
            return 1
        if flags.kill_at == step:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(flags.step_s)
    if flags.torn:
        say.write('{"kind":"step","step":99')
        say.flush()
    if flags.lora is not None:
        reach("save")
        numbers = struct.pack("<2f", 0.5, float("nan") if flags.nan else 0.25)
        write_safetensors(flags.lora, {"up": ("F32", [2], numbers)})
    if flags.wait_in:
        reach("sample")
    if probes:
        event("probe", when="after", loss=probes[1], step=flags.steps, pictures=3)
    return int(flags.exit_code)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--step_s", type=float, default=0.01)
    parser.add_argument("--phase", default="train")
    parser.add_argument("--lora", type=Path)
    parser.add_argument("--nan", action="store_true")
    parser.add_argument("--torn", action="store_true")
    parser.add_argument("--helper", action="store_true", help="leave a process behind in the session")
    parser.add_argument("--started", type=Path, help="append this process' pid, to count starts")
    parser.add_argument("--ignore", default="", help="signals to ignore, by name")
    parser.add_argument("--checkpoint_every", type=int, default=0)
    parser.add_argument("--crash_at", type=int, default=0)
    parser.add_argument("--kill_at", type=int, default=0)
    parser.add_argument("--wait_at", type=int, default=0, help="before this step wait until --wait_for exists")
    parser.add_argument("--wait_in", help="go through a training's phases and in this one wait until --wait_for exists")
    parser.add_argument("--wait_for", type=Path)
    parser.add_argument("--probes", default="", help="the probe's loss before and after, as 0.8,0.4")
    parser.add_argument("--exit_code", type=int, default=0)
    parser.add_argument("--resume", help="taken as the real one takes it; the steps are told from the first again")
    parser.add_argument("--max_train_epochs", help="as --resume")
    return parser.parse_args()


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    """Write tensors by name as (dtype, shape, bytes)."""
    header: dict[str, object] = {}
    begin = 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + len(raw)]}
        begin += len(raw)
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(raw for _, _, raw in tensors.values()))


if __name__ == "__main__":
    sys.exit(main())
