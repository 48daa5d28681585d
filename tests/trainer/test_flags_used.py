"""Every flag that the trainer takes has its place in the trainer's code."""

import re
from pathlib import Path

from fluxgym_tui.trainer import flags
from fluxgym_tui.trainer.flag_table import FLAGS
from fluxgym_tui.trainer.flags import option_names

# These say what is so anyway: the only choice there is, or what the trainer demands.
SO_ANYWAY = {"cache_latents", "cache_latents_to_disk", "network_module", "save_model_as", "model_type"}


def test_no_flag_is_taken_and_then_ignored() -> None:
    told_only = {"flags.py", "flag_table.py", "flag_rules.py"}
    sources = [path for path in Path(flags.__file__).parent.glob("*.py") if path.name not in told_only]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    unused = {name for name in option_names() if not re.search(rf"\b(?:options|self)\.{name}\b|\"{name}\"", code)}
    assert unused <= SO_ANYWAY
    assert all(FLAGS[name].required or FLAGS[name].choices or name.startswith("cache_") for name in SO_ANYWAY)
