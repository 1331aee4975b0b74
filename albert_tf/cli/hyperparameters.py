"""The numbers that a user tunes: those of the paper, and the combinations of a sweep."""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Sequence

from albert_tf.cli.flags import UsageError
from albert_tf.cli.text import say
from albert_tf.errors import InputWarning


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """The numbers that a user tunes: peak rate, examples in a step over all devices, and numbers of steps.

    `encoder_dropout_prob` is for hidden states and attention; None stands for the config's. `dropout_prob`
    is for the task's head.
    """

    learning_rate: float
    train_batch_size: int
    encoder_dropout_prob: float | None
    dropout_prob: float
    train_step: int
    warmup_step: int
    max_seq_length: int


# The paper's Table 14, found for ALBERT-xxlarge: rate, batch, two dropouts, steps, warm-up, length.
PAPER_HYPERPARAMETERS = {
    "cola": Hyperparameters(1e-5, 16, 0.0, 0.1, 5336, 320, 512),
    "sts-b": Hyperparameters(2e-5, 16, 0.0, 0.1, 3598, 214, 512),
    "sst-2": Hyperparameters(1e-5, 32, 0.0, 0.1, 20935, 1256, 512),
    "mnli": Hyperparameters(3e-5, 128, 0.0, 0.1, 10000, 1000, 512),
    "mismnli": Hyperparameters(3e-5, 128, 0.0, 0.1, 10000, 1000, 512),
    "qnli": Hyperparameters(1e-5, 32, 0.0, 0.1, 33112, 1986, 512),
    "qqp": Hyperparameters(5e-5, 128, 0.1, 0.1, 14000, 1000, 512),
    "rte": Hyperparameters(3e-5, 32, 0.1, 0.1, 800, 200, 512),
    "mrpc": Hyperparameters(2e-5, 32, 0.0, 0.1, 800, 200, 512),
    "wnli": Hyperparameters(2e-5, 16, 0.1, 0.1, 2000, 250, 512),
    "squad_v1": Hyperparameters(5e-5, 48, 0.0, 0.1, 3649, 365, 384),
    "squad_v2": Hyperparameters(3e-5, 48, 0.0, 0.1, 8144, 814, 512),
    "race": Hyperparameters(2e-5, 32, 0.1, 0.1, 12000, 1000, 512),
}

# Those of the paper's pretraining.
PRETRAINING_RATE, PRETRAINING_BATCH = 0.00176, 4096
PRETRAINING_STEPS, PRETRAINING_WARMUP = 125_000, 3125
PRETRAINING_LENGTH = 512


def scaled_learning_rate(train_batch_size: int) -> float:
    """The paper's pretraining rate for another batch size: it grows with the square root of the size."""
    return PRETRAINING_RATE * math.sqrt(train_batch_size / PRETRAINING_BATCH)


def warmup_steps(flag: str, given: int | None, num_steps: int, default: int, made_for: int) -> int:
    """The steps of the warm-up: what `flag` gives, else the default.

    The default is for a run of `made_for` steps. In a shorter run it shrinks in proportion, and a line says
    so. A given warm-up that is longer than the run stays, with a warning.
    """
    if given is None:
        shrunk = default if num_steps >= made_for else num_steps * default // made_for
        if shrunk != default:
            say(
                f"--{flag} is {shrunk:,} in a run of {num_steps:,} steps: the default, {default:,}, is for "
                f"{made_for:,} steps"
            )
        return shrunk
    if given > num_steps:
        text = f"--{flag}={given}: the run has only {num_steps} steps, so the rate does not reach its peak"
        warnings.warn(text, InputWarning, stacklevel=2)
    return given


# The flags that --sweep varies.
SWEPT = (
    *(field.name for field in dataclasses.fields(Hyperparameters)),
    *("num_train_epochs", "warmup_proportion", "optimizer", "loss", "label_smoothing", "max_train_samples"),
)


def combinations(sweep: str, allowed: Sequence[str]) -> dict[str, dict[str, str]]:
    """The combinations of a text such as "learning_rate=1e-5,3e-5;train_batch_size=16,32".

    Returns:
      The values of a run by flag, under a name such as "learning_rate=1e-5,train_batch_size=16".

    Raises:
      UsageError: a flag is not allowed, or comes twice, or has no value or one value twice.
    """
    swept: dict[str, list[str]] = {}
    for part in sweep.split(";"):
        name, _, values = part.partition("=")
        name, found = name.strip(), [value.strip() for value in values.split(",")]
        if name not in allowed:
            raise UsageError(f"--sweep: {name!r} is none of {', '.join(allowed)}")
        if name in swept or len(set(found)) < len(found) or not all(found):
            raise UsageError(f"--sweep: {part.strip()!r} must give {name} once, with different values")
        swept[name] = found
    runs = {}
    for combination in itertools.product(*swept.values()):
        given = dict(zip(swept, combination, strict=True))
        runs[",".join(f"{name}={value}" for name, value in given.items())] = given
    return runs
