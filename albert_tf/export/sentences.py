"""Text to try an exported model with."""

from albert_tf.errors import InputError

_MOST = 50

SENTENCES = (
    "The film is a delight from beginning to end.",
    "I would not recommend this restaurant to anyone.",
    "Anna went to the market on Saturday and came back with three kilos of apples.",
    "Where was the treaty signed, and who was there?",
    "The company said on Monday that its profit had risen by 12 percent, to $4.1 billion.",
    "Rain is expected in the north; the south stays dry.",
    "No one had opened the door for years, so they broke the lock to enter the old library.",
    "He can't swim.",
)


def read_sentences(path: str) -> list[str]:
    """The first 50 lines of a UTF-8 file that are not blank: outputs for all of them are kept at once.

    Raises:
      InputError: there are none, or a line is not UTF-8.
    """
    sentences: list[str] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                sentence = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise InputError(f"{path}, line {number} is not UTF-8") from None
            sentences += [sentence] if sentence else []
            if len(sentences) == _MOST:
                break
    if not sentences:
        raise InputError(f"{path} holds no sentences; one a line is needed")
    return sentences
