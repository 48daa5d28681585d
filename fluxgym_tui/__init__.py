"""Train FLUX LoRAs from a terminal: plan, start, watch, return, publish."""

__version__ = "0.1.0"
