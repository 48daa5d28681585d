"""Specs as settings of other programs: the kohya_ss GUI's JSON, and sd-scripts' own config file."""

from fluxgym_tui.config.exporters.common import Exported, Training
from fluxgym_tui.config.exporters.kohya_gui import export_kohya_gui
from fluxgym_tui.config.exporters.sd_toml import export_sd_toml

__all__ = ["Exported", "Training", "export_kohya_gui", "export_sd_toml"]
