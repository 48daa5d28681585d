"""The built-in trainer: a process of its own that trains a LoRA on a FLUX.1 transformer. The only room, with `captioner`, that imports torch."""
