"""The one exception that means: the input is at fault, and here is how to mend it."""


class InputError(ValueError):
    """Raised for bad input: a file, an option or an array that cannot be used.

    The message is one sentence that names the file or option and says what to do.
    The command line prints it and ends with exit code 2.
    """
