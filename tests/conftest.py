"""What holds for all tests."""

import os

# torch's threads sleep while they wait, as in the trainer: tests share their cores. It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
