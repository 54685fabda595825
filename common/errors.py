"""The ways in which a script fails: what is raised, and what it means."""


class InputError(Exception):
    """Bad usage or bad input: the message says what is wrong, where, and what to do."""


class RunInterruptedError(BaseException):
    """The run was ended from outside; the message says how to go on, `status` is the exit status.

    Like KeyboardInterrupt no Exception: a signal may come while a library runs that goes on after any (tqdm does).
    """

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status
