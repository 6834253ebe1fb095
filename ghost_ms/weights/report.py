"""What became of every entry of a weight file."""
import dataclasses
from typing import List

from ghost_ms.core.text import printable
from ghost_ms.weights.pick import shown


@dataclasses.dataclass
class Report:
    """What became of every entry of a file.

    Args:
        source, model: the file and the network; `entry` is the dictionary taken from it ('' for the file itself).
        prefix: what was removed before every name.
        used: PyTorch's names of the entries that fill the network.
        dropped: entries without weights: counters, other dictionaries of a checkpoint, what no output depends on.
        resampled: position tables brought to another input size.
        fresh: entries of the network that were left as initialised (only with a new head).
        notes: sentences on whatever else was decided, replaced or rescaled.
    """

    source: str
    model: str
    entry: str = ""
    prefix: str = ""
    used: List[str] = dataclasses.field(default_factory=list)
    dropped: List[str] = dataclasses.field(default_factory=list)
    resampled: List[str] = dataclasses.field(default_factory=list)
    fresh: List[str] = dataclasses.field(default_factory=list)
    notes: List[str] = dataclasses.field(default_factory=list)

    def lines(self) -> List[str]:
        """The report as lines of text."""
        where = ", ".join(([self.entry] if self.entry else [])
                          + ([f"names without '{self.prefix}'"] if self.prefix else []))
        where = f" ({printable(where)})" if where else ""
        rows = [f"{printable(self.source)}{where} -> {self.model}: {len(self.used)} entries used, {len(self.dropped)} "
                "dropped"]
        for title, names in (("dropped", self.dropped), ("resampled to the input size", self.resampled),
                             ("left fresh, to be trained", self.fresh)):
            if names:
                rows.append(f"  {title}: {shown(names, 6)}")
        return rows + [f"  {note}" for note in self.notes]

    def remarks(self) -> List[str]:
        """Sentences on what a user of the network should know, beside what a new classifier means."""
        rows = [f"the names are taken without '{printable(self.prefix)}'"] if self.prefix else []
        if self.resampled:
            rows.append(f"{len(self.resampled)} tables are resampled to the input size ({shown(self.resampled, 2)})")
        return rows + self.notes
