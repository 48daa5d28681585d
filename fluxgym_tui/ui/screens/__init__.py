"""The screens in the order of the work; each is imported when it is first shown."""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluxgym_tui.ui.screens.base import WorkScreen


@dataclass(frozen=True, slots=True)
class ScreenEntry:
    """A screen of the tab bar: its `digit` key, `name` in code, `title` for people, `place` as `module:Class`."""

    digit: str
    name: str
    title: str
    place: str

    def load(self) -> type["WorkScreen"]:
        """The screen's class; its module is imported now."""
        module, _, name = self.place.partition(":")
        screen: type[WorkScreen] = getattr(importlib.import_module(f"fluxgym_tui.ui.screens.{module}"), name)
        return screen


SCREENS: tuple[ScreenEntry, ...] = (
    ScreenEntry("1", "dataset", "Dataset", "dataset:DatasetScreen"),
    ScreenEntry("2", "parameters", "Parameters", "parameters:ParametersScreen"),
    ScreenEntry("3", "plan", "Plan", "plan:PlanScreen"),
    ScreenEntry("4", "flags", "Flags", "flags:FlagsScreen"),
    ScreenEntry("5", "live", "Live", "live:LiveScreen"),
    ScreenEntry("6", "samples", "Samples", "samples:SamplesScreen"),
    ScreenEntry("7", "publish", "Publish", "publish:PublishScreen"),
    ScreenEntry("8", "runs", "Runs", "runs:RunsScreen"),
)


def entry_of(name: str) -> ScreenEntry | None:
    """The entry named `name`, or None where there is no such screen."""
    return next((entry for entry in SCREENS if entry.name == name), None)
