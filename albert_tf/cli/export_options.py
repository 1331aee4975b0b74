"""The flags that the scripts of exports share."""

import dataclasses

from albert_tf.cli.flags import option
from albert_tf.cli.options import SidecarOptions


@dataclasses.dataclass(frozen=True)
class TrainedModelOptions(SidecarOptions):
    """Which model is exported. Flags that are not given come from the files beside the weights."""

    input: str = option(
        is_weights=True,
        help="folder of a run, whose best checkpoint is exported, or weights of any kind: checkpoint, "
        ".tar.gz, Hugging Face folder, hub module, or a name or address as for --init_checkpoint",
    )
    task_name: str | None = option(
        None,
        help="what the model is for: a task of GLUE, race, squad_v1, squad_v2, tagging, similarity, "
        "pretraining, encoder (embeddings alone) or custom (default: as the folder or the weights say)",
    )
    labels: tuple[str, ...] | None = option(
        None, help="the classes of a custom task in their order, or other names for the classes of a task"
    )
    num_texts: int | None = option(None, at_least=1, help="texts in an example of a custom task: 1 or 2")
    max_seq_length: int | None = option(None, at_least=4, help="pieces of a sequence (default: as trained)")

    @property
    def needed_paths(self) -> tuple[str, ...]:
        """See `ScriptOptions`."""
        return ("input", *super().needed_paths)
