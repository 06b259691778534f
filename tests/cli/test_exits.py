"""How a command ends, whatever ends it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from mlcompare.cli.exits import orderly_exit
from mlcompare.errors import InvalidValueError, MLCompareError

WAITS = """
import time
from mlcompare.cli.exits import orderly_exit
with orderly_exit(debug=False):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("leaving", flush=True)
        time.sleep({linger})
"""


@pytest.fixture(autouse=True)
def own_signals():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            InvalidValueError("`scale > 0` must hold", value="scale=\n-1"),
            "error: `scale > 0` must hold, got scale= -1\n",
        ),
        (OSError(28, "No space left on device", "runs/x"), "error: runs/x: No space left on device\n"),
        (OSError("odd"), "error: the system: odd\n"),
    ],
)
def test_a_mistake_is_one_line_or_a_traceback(error: Exception, line: str, capsys) -> None:
    with pytest.raises(SystemExit) as caught, orderly_exit(debug=False):
        raise error
    assert (caught.value.code, capsys.readouterr().err) == (2, line)
    with pytest.raises((MLCompareError, OSError)) as caught, orderly_exit(debug=True):
        raise error
    assert caught.value is error


def test_what_is_no_mistake_of_ours_stays_an_error() -> None:
    with pytest.raises(ZeroDivisionError), orderly_exit(debug=False):
        raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2])
def test_one_signal_ends_in_order_and_two_at_once(number: signal.Signals, times: int) -> None:
    code = WAITS.format(linger=0 if times == 1 else 60)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == "leaving\n"
    if times == 2:
        process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.count("interrupted: what was finished is kept") == 1
