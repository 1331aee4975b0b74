"""`LoadReport`: what loading did with every variable and every tensor."""

import dataclasses
from collections.abc import Sequence

_NAMED = 8  # the most names in a line; the others are counted


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What loading did. `str` gives counts, `listing` every name.

    Attributes:
      path, kind, slots, step: see `WeightSource`.
      loaded: variables that got their values.
      missing: variables of the model that the source lacks; they keep their values.
      unexpected: weights of the source for which the model has no variable.
      notes: what the user should look at; also issued as warnings.
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
        """The path, kind and step of the weights."""
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
        """A line for every name: what happened to it, and the name."""
        parts = {"loaded": self.loaded, "missing": self.missing, "unexpected": self.unexpected}
        parts["of an optimizer"] = self.slots
        return "\n".join(f"{part}: {name}" for part, names in parts.items() for name in names)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
