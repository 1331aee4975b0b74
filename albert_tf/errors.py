"""What stands for a user's mistake: one exception, one warning; and how texts of others are shown."""


class InputError(ValueError):
    """Bad input whose message alone explains it: it names the file, the line, the key or the flag.

    The command-line scripts print it as one line and exit with status 1; from Python it is a `ValueError`.
    """


class InputWarning(UserWarning):
    """Input that can be used but is probably not what was meant; scripts print it as one line."""


def refuse_keras_3(name: str, value: object) -> None:
    """`InputError` if a value, or one in its lists and dicts, is an object or a function of Keras 3."""
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            refuse_keras_3(name, part)
    elif any(
        getattr(kind, "__module__", "").split(".")[0] == "keras" for kind in (value, *type(value).__mro__)
    ):
        what = getattr(value, "__name__", type(value).__name__)
        raise InputError(f"{name}: {what} is of Keras 3 (keras, tf.keras); take it from tf_keras")


def escaped(text: str, keep: str = "") -> str:
    """The text with an escape of Python in place of each character that cannot be seen or moves the cursor.

    So it stays on its line, whoever wrote it, and two texts that differ look different. Spaces and the
    characters in `keep` stay. What is escaped is not escaped again.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text
    )
