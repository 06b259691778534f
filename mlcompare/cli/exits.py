"""How a command ends: one line and exit code 2 for a mistake, and in order when it is interrupted."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mlcompare.errors import MLCompareError

__all__ = ["INTERRUPTED", "orderly_exit"]

MISTAKE, INTERRUPTED = 2, 130


@contextmanager
def orderly_exit(*, debug: bool) -> Iterator[None]:
    """End the process with an exit code where its content is interrupted, or meets an error of ours or of the system.

    Args:
        debug: leave errors as they are, with their traceback.
    """
    _on_polite_signals(_interrupt)
    try:
        yield
    except MLCompareError as error:
        if debug:
            raise
        _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a full disk, a folder without permission
        if debug:
            raise
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    finally:
        if signal.getsignal(signal.SIGINT) is _leave:
            _on_polite_signals(signal.SIG_IGN)  # we are leaving in order already


def _fail(line: str) -> None:
    print(f"error: {line}", file=sys.stderr)
    sys.exit(MISTAKE)


def _interrupt(_number: int, _frame: object) -> None:
    """Ctrl-C, or a polite kill: stop in order; a second one stops at once. The journal is whole at any moment."""
    _on_polite_signals(_leave)
    os.write(2, b"\ninterrupted: what was finished is kept, and the same command resumes\n")
    raise KeyboardInterrupt


def _leave(_number: int, _frame: object) -> None:
    os._exit(INTERRUPTED)


def _on_polite_signals(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
