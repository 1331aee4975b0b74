#!/usr/bin/env python3
"""Fills [MASK] in sentences with what a pretrained model finds most likely."""

import dataclasses
import sys

from albert_tf import flags
from albert_tf.errors import InputError
from albert_tf.flags import option
from albert_tf.script import script

MASK = "[MASK]"


@dataclasses.dataclass(frozen=True)
class FillOptions(flags.ScriptOptions):
    """Prints the likeliest pieces for every [MASK] in each line of standard input."""

    albert_config_file: str = option(help="the model's albert_config.json")
    checkpoint: str = option(help="weights of any kind, such as model/model.ckpt-best")
    spm_model_file: str = option(help="the model's SentencePiece model")
    do_lower_case: bool = option(True, help="lower-case the text")
    top_k: int = option(5, at_least=1, help="guesses for each mask")


@script(FillOptions)
def main(options: FillOptions) -> None:
    """Reads sentences, predicts, prints."""
    import tensorflow as tf

    from albert_tf import load_weights
    from albert_tf.config import AlbertConfig
    from albert_tf.models.pretraining import AlbertForPreTraining
    from albert_tf.tokenization import load_tokenizer

    tokenizer = load_tokenizer(spm_model_file=options.spm_model_file, do_lower_case=options.do_lower_case)
    model = AlbertForPreTraining(AlbertConfig.from_json_file(options.albert_config_file))
    report = load_weights(model, options.checkpoint)
    if report.missing:
        raise InputError(f"--checkpoint={options.checkpoint} lacks {', '.join(report.missing)}")
    top_k = min(options.top_k, tokenizer.vocab_size)

    for line in sys.stdin:
        text = line.strip()
        if not text:
            continue
        if MASK not in text:
            raise InputError(f"no {MASK} in: {text}")
        # The tokenizer never takes the word [MASK] in a text for the control piece: it is put in here.
        parts = [tokenizer.encode(part) for part in text.split(MASK)]
        ids = [tokenizer.cls_id, *parts[0]]
        for part in parts[1:]:
            ids += [tokenizer.mask_id, *part]
        ids.append(tokenizer.sep_id)
        positions = [i for i, piece in enumerate(ids) if piece == tokenizer.mask_id]
        outputs = model({"input_ids": tf.constant([ids]), "masked_lm_positions": tf.constant([positions])})
        probabilities, guesses = tf.math.top_k(tf.nn.softmax(outputs["mlm_logits"][0]), top_k)
        print(text)
        for row, pieces in zip(probabilities.numpy(), guesses.numpy().tolist(), strict=True):
            names = tokenizer.ids_to_pieces(pieces)
            print("   " + "  ".join(f"{n.replace('▁', '')} {p:.0%}" for n, p in zip(names, row, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
