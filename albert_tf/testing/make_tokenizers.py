"""Makes the tiny vocabularies of this folder anew: python -m albert_tf.testing.make_tokenizers."""

import collections
import re

from albert_tf import testing
from albert_tf.tokenization.preprocessing import preprocess_text
from albert_tf.tokenization.sentencepiece_training import train_sentencepiece

SPM_VOCAB_SIZE = 160

TEXT = """
The river rises in the hills and runs past the mill to the sea.
In spring the water is high, and the miller opens both gates.
His daughter walks along the river every morning and counts the boats.
On some mornings she counts seven boats, on others only two or three.
The boats carry wool, timber and salt to the town at the mouth of the river.
In 2009, the old bridge was closed; in 2010, a new bridge was opened.
By 2011, the town had 3,500 people, 2 schools and 1 market.
The market is held on Mondays, and the farmers bring apples, cheese and bread.
"Nobody bakes bread like the baker's wife," said the miller (and he meant it).
The baker sold 40 loaves for £2 each, the cheesemaker 15 cheeses for €9 each.
Rain fell for 12 days in 2012, and the rivers were higher than ever.
The farmers moved the cattle to the hills; the children stayed with their teachers.
When the rain had ended, the teacher asked them to write what they had seen.
One child wrote about the flooded market, another about the walking of the cattle.
The teacher read the stories aloud, and the children were listening and laughing.
A long-legged heron stands in the shallow water near the mill, waiting for a fish.
Nothing moves; then the heron strikes, and the fish is gone.
The miller's cat watches from the wall - it would like a fish as well.
At night the lamps of the town are reflected in the river, and the mill is silent.
The daughter is sleeping, dreaming of boats that sail beyond the sea.
"""
CJK = "河水从山上流到大海，一二三。"


def main() -> None:
    """Writes the SentencePiece model and the WordPiece vocabulary."""
    lines = [preprocess_text(line) for line in TEXT.strip().splitlines()]
    # The model has no normalization of its own, whose tables would take 240 kB.
    model = train_sentencepiece(lines, SPM_VOCAB_SIZE, character_coverage=1.0, normalization="identity")
    with open(testing.SPM_MODEL_FILE, "wb") as file:
        file.write(model)
    with open(testing.VOCAB_FILE, "w", encoding="utf-8") as file:
        file.writelines(f"{piece}\n" for piece in wordpiece_vocabulary(lines))


def wordpiece_vocabulary(lines: list[str]) -> list[str]:
    """Special pieces, all characters, letters as continuations, a few endings and the commoner words."""
    characters = sorted(set("".join(lines)) - {" "} | set("abcdefghijklmnopqrstuvwxyz0123456789") | set(CJK))
    letters = [c for c in characters if re.fullmatch("[a-z0-9]", c)]
    words = collections.Counter(re.findall("[a-z0-9]+", " ".join(lines)))
    common = sorted(word for word, count in words.items() if count > 1 and len(word) > 1)
    # Plurals stay out, so that some words have two pieces.
    stems = [word for word in common if not (word.endswith("s") and word[:-1] in words)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    continuations = [f"##{part}" for part in (*letters, "ing", "ed", "er", "ers", "es")]
    return [*special, *characters, *continuations, *stems]


if __name__ == "__main__":
    main()
