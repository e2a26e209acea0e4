"""The exception for bad input, and the warning about input that is used all the same."""

import sys
import warnings
from typing import TextIO


class InputError(ValueError):
    """Bad input: a file, an option or an array that cannot be used.

    The message is one sentence that names the file or option and says what to do. The command line
    prints it and exits with code 2.
    """


class InputWarning(UserWarning):
    """Input that is used, but not as a whole: a broken colour profile, an animation.

    The message is one sentence that names the file. The command line prints it once.
    """


def print_warnings_in_one_line() -> None:
    """Let every warning be one line of the program, without Python's path, printed once.

    NumPy's warnings about infinite numbers and NaN in the program's own formulas are not printed:
    the program looks at the loss, and says itself that it is not finite. `warnings.catch_warnings`
    restores Python's own way.
    """
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"npstyle\.")
    printed = set[str]()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        if text not in printed:
            printed.add(text)
            print(f"npstyle: warning: {text}", file=file or sys.stderr, flush=True)

    warnings.showwarning = show
