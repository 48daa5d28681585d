"""Run by sd-scripts' own Python, never imported: imports what a training needs, and prints as JSON what it found."""

import importlib
import json
import os
import sys
from typing import Any

# What half-installed modules and unfit drivers raise.
_BROKEN = (ImportError, OSError, RuntimeError, AssertionError, AttributeError, TypeError, ValueError, LookupError)


def main() -> int:
    """Print {"missing": [module], "torch": version, "gpus": [names], "unusable": why no GPU, or null, "adamw8bit": why
    the 8-bit optimiser does not run on them, or null}. Arguments: the modules to import."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what modules print while they are imported is no answer
    found: dict[str, Any] = {"missing": [], "torch": None, "gpus": [], "unusable": None, "adamw8bit": None}
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except _BROKEN as error:
            found["missing"].append(f"{name} ({type(error).__name__}: {error})")
    try:
        torch = importlib.import_module("torch")
        found["torch"] = str(torch.__version__)
        for index in range(torch.cuda.device_count()):
            one = torch.ones(1, device=f"cuda:{index}")
            if float(one + one) == 2.0:  # a card that the build has no code for raises here
                found["gpus"].append(torch.cuda.get_device_name(index))
    except _BROKEN as error:
        found["unusable"] = f"{type(error).__name__}: {error}"
    if found["gpus"]:
        try:
            found["adamw8bit"] = _try_adamw8bit()
        except _BROKEN as error:
            found["adamw8bit"] = f"{type(error).__name__}: {error}"
    with answer:
        json.dump(found, answer)
    return 0


def _try_adamw8bit() -> str | None:
    """Make one step with the optimiser of most recipes: its library has a part for each CUDA, or lacks it."""
    torch = importlib.import_module("torch")
    # From 4,096 numbers on the state is kept in 8 bits.
    weight = torch.nn.Parameter(torch.ones(64, 128, device="cuda"))
    weight.grad = torch.ones_like(weight)
    importlib.import_module("bitsandbytes").optim.AdamW8bit([weight], lr=0.5).step()
    return None if float(weight.detach().max()) < 1.0 else "a step of it changed nothing"


if __name__ == "__main__":
    sys.exit(main())
