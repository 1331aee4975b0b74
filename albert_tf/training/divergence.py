"""Training that diverged: what the user is told, and the rollbacks after which a run continues."""

import os
from collections.abc import Sequence
from typing import Annotated, TypedDict

import msgspec
import numpy as np

from albert_tf.checkpoints.run_folder import ROLLBACKS_FILE
from albert_tf.errors import InputError
from albert_tf.files import read_json, write_json

MOST_ROLLBACKS = 3


class Diverged(InputError):
    """Loss, gradients or weights are not finite after the update `step`, counted from 0."""

    def __init__(self, what: str, step: int):
        super().__init__(what)
        self.step = step


def explain_gradients(
    names: Sequence[str], norms: np.ndarray, norms_before: np.ndarray, loss: float, step: int
) -> Diverged:
    """Explains a step whose loss or gradients are not finite.

    `norms` and `norms_before`, float32 `[variables]`, are the norms of the gradients in this step and in the
    one before. The order of the variables is from the input of the model to its end.
    """
    bad = [name for name, norm in zip(names, norms, strict=True) if not np.isfinite(norm)]
    if np.isfinite(loss) and bad:
        # Gradients flow from the end of the model to its input: the last bad one spoils those before it.
        others = f" (nor those of {len(bad) - 1} variables before it)" if len(bad) > 1 else ""
        return Diverged(f"the gradient of {bad[-1]} is not finite at step {step}{others}", step)
    what = f"the loss is not finite at step {step} ({loss})"
    if norms_before.any():
        worst = int(np.argmax(norms_before))
        what += (
            f"; the largest gradient of the step before was that of {names[worst]}, of norm "
            f"{norms_before[worst]:.3g}"
        )
    return Diverged(what, step)


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]  # more steps than a run has


class _Rollback(TypedDict):
    """The step to which the run went back, the number of batches that it left out, and the reason."""

    to_step: _Count
    batches: _Count
    why: str


class Rollbacks:
    """The rollbacks of a run, in `<folder>/rollbacks.json`; each leaves out batches of the training data."""

    def __init__(self, folder: str):
        self._path = os.path.join(folder, ROLLBACKS_FILE)
        self._done = read_json(self._path, list[_Rollback]) if os.path.exists(self._path) else []

    def __len__(self) -> int:
        return len(self._done)

    def batch_of(self, step: int) -> int:
        """The number of the batch that a step trains on."""
        return step + sum(past["batches"] for past in self._done if past["to_step"] <= step)

    def forget_after(self, step: int) -> None:
        """Drops later rollbacks, if the user or a torn checkpoint took the run back to a step."""
        self._done = [past for past in self._done if past["to_step"] <= step]

    def add(self, to_step: int, diverged: Diverged) -> None:
        """Leaves out the batches from a step to the divergence, and writes the file at once."""
        batches = diverged.step + 1 - to_step
        self._done.append({"to_step": to_step, "batches": batches, "why": str(diverged)})
        write_json(self._path, self._done)
