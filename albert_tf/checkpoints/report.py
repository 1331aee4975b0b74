"""`LoadReport`: what a load did with every variable and every tensor."""

import dataclasses
from collections.abc import Sequence

_NAMED = 8  # names in a line before it says how many more there are


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What a load did, by variable name. `str` gives counts, `listing` every name.

    Attributes:
      path: what was loaded.
      kind: what it turned out to be.
      loaded: variables that got their values.
      missing: variables of the model that the source lacks; they keep their values.
      unexpected: weights of the source that the model has no variable for.
      slots: optimizer state and counters in the source, not meant for a model.
      notes: what to look at, such as a value that shapes cannot show; they were issued as warnings.
      step: of the training, where a checkpoint of a run says it.
    """

    path: str
    kind: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    slots: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    step: int | None = None

    @property
    def origin(self) -> str:
        """Where the weights came from: path, kind and step."""
        step = "" if self.step is None else f", step {self.step:,}"
        return f"{self.path} ({self.kind}{step})"

    def __str__(self) -> str:
        lines = [
            f"{self.origin}: {len(self.loaded)} variables loaded, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.slots)} of an optimizer"
        ]
        if self.missing:
            lines.append(f"  missing, left at their initial values: {_some(self.missing)}")
        if self.unexpected:
            lines.append(f"  unexpected, ignored: {_some(self.unexpected)}")
        return "\n".join(lines)

    def listing(self) -> str:
        """Every name, a line each, under what happened to it."""
        parts = {
            "loaded": self.loaded,
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of an optimizer": self.slots,
        }
        return "\n".join(f"{part}: {name}" for part, names in parts.items() for name in names)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
