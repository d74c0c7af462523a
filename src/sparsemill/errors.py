"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """Bad input: its text is one line that says what is wrong, where, and what to do.

    Command lines print it without a traceback and exit with status 2.
    """
