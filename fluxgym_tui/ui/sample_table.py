"""The samples of a run as a table: a row for each prompt, a column for each moment, base model first."""

from dataclasses import dataclass, field
from pathlib import Path

from fluxgym_tui.base.events import CheckpointEvent, RunEvent, SampleEvent


@dataclass(slots=True)
class SampleTable:
    """Grows event by event. `moments` are (step, epoch), in order; `pictures` by prompt index and moment."""

    folder: Path
    moments: list[tuple[int | None, int | None]] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    pictures: dict[tuple[int, tuple[int | None, int | None]], SampleEvent] = field(default_factory=dict)
    loras: list[CheckpointEvent] = field(default_factory=list)

    def feed(self, event: RunEvent) -> bool:
        """Take an event; whether the table changed."""
        if isinstance(event, CheckpointEvent):
            self.loras.append(event)
            return True
        if not isinstance(event, SampleEvent):
            return False
        moment = (event.step, event.epoch if event.step is None else None)
        if moment not in self.moments:
            self.moments.append(moment)
            self.moments.sort(key=lambda at: (at[0] if at[0] is not None else 0, at[1] or 0))
        if event.prompt_index not in self.prompts:
            self.prompts.append(event.prompt_index)
            self.prompts.sort()
        self.pictures[event.prompt_index, moment] = event
        return True

    def at(self, row: int, column: int) -> SampleEvent | None:
        """The sample of a row and a column; None where that one was not drawn, or there is no such place."""
        if not (0 <= row < len(self.prompts) and 0 <= column < len(self.moments)):
            return None
        return self.pictures.get((self.prompts[row], self.moments[column]))

    def path_of(self, event: SampleEvent) -> Path:
        """Where the picture lies: as it was written, else in the run's own folder, which may have been moved."""
        path = self.folder / event.path
        return path if path.exists() else self.folder / "sample" / Path(event.path).name

    def words(self, column: int) -> str:
        """The moment of a column: `step 400`, `epoch 4`, or that it shows the base model."""
        step, epoch = self.moments[column]
        if step == 0 or (step is None and epoch == 0):
            return "base model"
        return f"step {step:,}" if step is not None else f"epoch {epoch}"

    def lora_of(self, column: int) -> Path | None:
        """The LoRA file saved at the moment of a column; None where none was, or it is gone."""
        step, epoch = self.moments[column]
        for event in reversed(self.loras):
            if (step is not None and event.step == step) or (step is None and event.epoch == epoch):
                path = self.folder / Path(event.path).name
                return path if path.is_file() else None
        return None


def read_prompts(folder: Path) -> list[str]:
    """The words of a run's prompts, by index, without kohya's flags (`--w 512`); empty where there are none."""
    try:
        text = (folder / "sample_prompts.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.strip() for line in text.splitlines()]
    return [line.partition(" --")[0].strip() for line in lines if line and not line.startswith("#")]
