"""The types of the fixtures that call the command line."""

from collections.abc import Callable
from typing import Any

Run = Callable[..., tuple[int, str, str]]  # exit code, stdout, stderr
RunJson = Callable[..., tuple[int, Any]]  # exit code, the document on stdout
