"""The flags that the scripts which export share."""

import dataclasses

from albert_tf.flags import ScriptOptions, option


@dataclasses.dataclass(frozen=True)
class TrainedModelOptions(ScriptOptions):
    """Which model is exported. What is not given is taken from the files beside the weights."""

    input: str = option(
        help="folder of a run, of which the best checkpoint is taken, or weights of any kind: checkpoint, "
        ".tar.gz, Hugging Face folder, hub module"
    )
    task_name: str | None = option(
        None,
        help="what the model is for: a task of GLUE, race, squad_v1, squad_v2, pretraining, encoder "
        "(embeddings alone) or custom (default: as the folder or the weights say)",
    )
    labels: tuple[str, ...] | None = option(
        None, help="the classes of a custom task in their order, or other words for those of a task"
    )
    num_texts: int | None = option(None, at_least=1, help="texts in an example of a custom task: 1 or 2")
    albert_config_file: str | None = option(None, help="the model's albert_config.json")
    spm_model_file: str | None = option(None, help="SentencePiece model")
    vocab_file: str | None = option(None, help="WordPiece vocabulary")
    do_lower_case: bool | None = option(None, help="whether to lower-case the text (default: as trained)")
    max_seq_length: int | None = option(
        None, at_least=4, help="pieces of a sequence at most (default: as trained)"
    )
