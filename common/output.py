"""Standard output and standard error that can go away: a closed terminal or pipe, a full disk."""

import os
import sys


class LastingStream:
    """The text stream `stream`, but what it cannot write is dropped, with all that follows, and nothing is raised."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        """As a stream's, flushed at once: a buffer would find out later."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what the buffer holds goes there, too
            os.close(nowhere)
            if self is not sys.stderr:
                print(f"standard output cannot be written to ({error.strerror}): going on without it", file=sys.stderr)
        return len(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)
