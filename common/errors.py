"""The ways in which a script fails: what is raised, and what it means."""


class InputError(Exception):
    """Bad usage or bad input: the message says what is wrong, where, and what to do."""


class RunInterruptedError(Exception):
    """The run was ended from outside; the message says how to go on, `status` is the exit status."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status
