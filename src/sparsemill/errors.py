"""The one exception that stands for a user's mistake, and how command lines tell it."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps


class UserError(Exception):
    """Bad input: its text is one line that says what is wrong, where, and what to do.

    Command lines print it without a traceback and exit with status 2.
    """


def told(main: Callable[..., int]) -> Callable[..., int]:
    """Make the `main` of a command line tell a `UserError` on standard error and return 2."""

    @wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return run
