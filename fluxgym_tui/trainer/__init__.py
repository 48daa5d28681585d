"""The built-in trainer: a process of its own that trains a LoRA on a FLUX.1 transformer. It may import torch."""
