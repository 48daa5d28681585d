"""One line of the table of speed budgets."""

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
