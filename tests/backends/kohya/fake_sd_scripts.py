"""Stands in for accelerate and sd-scripts: prints a recorded log and leaves the files such a run leaves.

The real ones need gigabytes of models; what is tested is everything around them. Called as accelerate is:
`accelerate launch [its options] flux_train_network.py [options]`. FAKE_LOG names the recorded log,
FAKE_EXIT the status; FAKE_LORA is set where a LoRA is saved.
"""

import gzip
import json
import os
import sys
from pathlib import Path


def main() -> int:
    """Print the log to where sd-scripts prints, and write the LoRA."""
    words = sys.argv[1:]
    value = {word: words[index + 1] for index, word in enumerate(words[:-1]) if word.startswith("--")}
    output, name = Path(value["--output_dir"]), value["--output_name"]
    sys.stderr.buffer.write(gzip.decompress(Path(os.environ["FAKE_LOG"]).read_bytes()))
    sys.stderr.flush()
    if "FAKE_LORA" in os.environ:
        key = "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight"
        header = json.dumps({key: {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}}).encode()
        (output / f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(128))
    return int(os.environ["FAKE_EXIT"])


if __name__ == "__main__":
    sys.exit(main())
