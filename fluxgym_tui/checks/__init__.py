"""Facts in, findings out: what stands before a training, and what speaks against it."""
