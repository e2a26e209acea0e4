"""The exception for bad input."""


class InputError(ValueError):
    """Bad input: a file, an option or an array that cannot be used.

    The message is one sentence that names the file or option and says what to do. The command line
    prints it and exits with code 2.
    """
