"""What holds for all tests."""

import os

# torch's threads sleep while they wait, as in the trainer: tests run on cores that others use too. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
