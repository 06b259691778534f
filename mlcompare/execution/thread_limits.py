"""The threads of native libraries (BLAS, OpenMP) for a while; they are looked up again only where a module was loaded.

Looking up a process's libraries reads its memory map, some 10 ms: much beside a training of a tenth of a second.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["native_threads"]


def native_threads(count: int) -> AbstractContextManager[Any]:
    """Return a context in which every native library that is loaded by now has so many threads.

    >>> with native_threads(1):
    ...     pass
    """
    return _libraries(len(sys.modules)).limit(limits=count)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    return ThreadpoolController()
