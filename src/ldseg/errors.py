"""The one error that means "your input is at fault": the command line makes it one line and exit code 2."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line for a person: which file or setting, what is wrong with it, and what to do.
    """


class ToldElsewhere(InputError):
    """The same, met by another process of this command, which says it."""
