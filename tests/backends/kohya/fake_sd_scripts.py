"""Stands in for accelerate and sd-scripts: prints a recorded log and leaves the files such a run leaves.

The real ones need gigabytes of models; what is tested is everything around them. Called as accelerate is:
`accelerate launch [its options] flux_train_network.py [options]`. FAKE_LOG names the recorded log,
FAKE_EXIT the status; FAKE_LORA is set where a LoRA and samples are saved, FAKE_STATE is the epoch of a state saved,
FAKE_TRACKER names the event file of its tracker, FAKE_ARGV a file for the arguments it was given.
"""

import gzip
import json
import os
import sys
import time
from pathlib import Path

_SMALLEST_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def main() -> int:
    """Print the log to where sd-scripts prints, and write what training leaves."""
    words = sys.argv[1:]
    if told := os.environ.get("FAKE_ARGV"):
        Path(told).write_text(json.dumps(words), encoding="utf-8")
    value = {word: words[index + 1] for index, word in enumerate(words[:-1]) if word.startswith("--")}
    output, name = Path(value["--output_dir"]), value["--output_name"]
    if tracker := os.environ.get("FAKE_TRACKER"):
        begun = f"{value['--log_prefix']}{time.strftime('%Y%m%d%H%M%S')}"
        events = Path(value["--logging_dir"]) / begun / f"network_train/events.out.tfevents.{int(time.time())}.h.1.0"
        events.parent.mkdir(parents=True)
        events.write_bytes(Path(tracker).read_bytes())
    sys.stderr.buffer.write(gzip.decompress(Path(os.environ["FAKE_LOG"]).read_bytes()))
    sys.stderr.flush()
    if "FAKE_LORA" in os.environ:
        key = "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight"
        header = json.dumps({key: {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}}).encode()
        for prompt in range(2):
            picture = output / "sample" / f"{name}_000012_{prompt:02d}_20261122214311_7.png"
            picture.parent.mkdir(exist_ok=True)
            picture.write_bytes(_SMALLEST_PNG)
        lora = len(header).to_bytes(8, "little") + header + bytes(128)
        (output / f"{name}.safetensors").write_bytes(lora)
        if epoch := os.environ.get("FAKE_STATE"):
            state = output / f"{name}-state"
            state.mkdir(exist_ok=True)
            for file in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
                (state / file).touch()
            (state / "model.safetensors").write_bytes(lora)
            # As sd-scripts writes it: the run's epoch, the process's own step.
            (state / "train_state.json").write_text(json.dumps({"current_epoch": int(epoch), "current_step": 24}))
    return int(os.environ["FAKE_EXIT"])


if __name__ == "__main__":
    sys.exit(main())
