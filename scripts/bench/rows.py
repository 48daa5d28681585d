"""One line of the table of speed budgets."""

import resource
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a `figure`, the `floor` that nothing can be under, and what the design allows."""

    what: str
    figure: float
    floor: float
    unit: str
    floor_is: str
    budget: str
    within: bool

    @property
    def ratio(self) -> float:
        """How many times the floor the figure is."""
        return self.figure / self.floor


def children_ms() -> float:
    """CPU time in milliseconds that ended children of this process used so far, to the microsecond."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (usage.ru_utime + usage.ru_stime)
