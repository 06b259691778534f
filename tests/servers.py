"""Servers that tests start: waited for until they answer, and ended with all that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A command that serves at a port of the loopback interface; once stopped, it can be started again.

    Args:
        log: the file that its output is added to.
        **options: of ``subprocess.Popen``, such as ``cwd`` and ``env``.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path, **options) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._command, self._log, self._options = command, log, options
        self._process: subprocess.Popen | None = None

    def start(self, seconds: float = 120.0) -> None:
        """Return when MLflow's ``/health`` answers; the test fails where it ends before, or takes too long."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, **self._options
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).read()
                return
            except OSError:
                time.sleep(0.3)
        self.stop()
        pytest.fail(f"nobody answers at {self.address}: {self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Kill it and its workers: they share its process group."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
