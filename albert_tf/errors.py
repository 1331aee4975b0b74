"""What stands for a user's mistake: one exception, one warning."""


class InputError(ValueError):
    """Bad input whose message alone explains it: it names the file, the line, the key or the flag.

    The command-line scripts print it as one line and exit with status 1; from Python it is a `ValueError`.
    """


class InputWarning(UserWarning):
    """Input that can be used but is probably not what was meant; scripts print it as one line."""
