"""Empty databases, each made once by the package whose tables they hold, and copied from then on.

Making MLflow's tables means all of its migrations: seconds of processor time for every store, against a copy of a
megabyte. A template lies in the user's cache folder by package version and table revision. It holds no row that tells
of a store. Where anything about it is odd, nothing is copied, and the package makes its tables as it always did.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mlcompare.files import user_cache
from mlcompare.tracking.database import revision

__all__ = ["Blank", "head_revision", "lay_empty", "template_file"]

REVISION = re.compile(r"^revision\s*=\s*[\"'](.+?)[\"']", re.MULTILINE)
DOWN = re.compile(r"^down_revision\s*=\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Blank:
    """An empty database of a package.

    Args:
        package: its name, on PyPI and as a module.
        migrations: the folder of its Alembic migrations, in the package.
        empty: a table that nothing is in yet.
        make: makes the database at a path, by the package's own means.
    """

    package: str
    migrations: str
    empty: str
    make: Callable[[Path], None]


def lay_empty(path: Path, blank: Blank) -> None:
    """Put an empty database where there is none; where that can't be done, do nothing."""
    try:
        head = None if path.exists() else head_revision(blank)
        if head is None:
            return
        template = template_file(blank, head)
        if not _whole(template, blank, head):
            _make(template, blank)
        if _whole(template, blank, head):
            _copy(template, path)
    except Exception:  # disks, databases and packages have errors of their own; the package makes its tables then
        return


def template_file(blank: Blank, head: str) -> Path:
    """Return where the template lies."""
    return user_cache() / "databases" / f"{blank.package}-{version(blank.package)}-{head}.db"


def head_revision(blank: Blank) -> str | None:
    """Return the last revision among a package's migrations, read as text: importing the package takes seconds."""
    spec = importlib.util.find_spec(blank.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    known, passed = set(), set()
    for file in Path(spec.submodule_search_locations[0], blank.migrations).glob("*.py"):
        text = file.read_text(encoding="utf-8")
        known |= set(REVISION.findall(text))
        passed |= {name for line in DOWN.findall(text) for name in re.findall(r"[\"'](.+?)[\"']", line)}
    heads = known - passed
    return heads.pop() if len(heads) == 1 else None


def _whole(template: Path, blank: Blank, head: str) -> bool:
    """Whether a template is there, readable, of the right revision, and without rows."""
    if not template.is_file():
        return False
    try:
        connection = sqlite3.connect(f"{template.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            rows = connection.execute(f"SELECT count(*) FROM {blank.empty}").fetchone()[0]
            checked = connection.execute("PRAGMA quick_check").fetchone()[0]
            return rows == 0 and checked == "ok" and revision(connection) == head
        finally:
            connection.close()
    except sqlite3.DatabaseError:
        return False


def _make(template: Path, blank: Blank) -> None:
    """Make a template under another name first: of two that do so at once, either's is right."""
    template.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=template.parent, prefix=".making-") as name:
        made, compact = Path(name) / "made.db", Path(name) / "compact.db"
        blank.make(made)
        connection = sqlite3.connect(made, timeout=30)
        try:
            with connection:
                connection.execute(f"DELETE FROM {blank.empty}")
            connection.execute("VACUUM INTO ?", (str(compact),))  # what was deleted is not in the copy
        finally:
            connection.close()
        compact.replace(template)


def _copy(template: Path, path: Path) -> None:
    """Copy a template, whole or not at all, and never over a database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if any(path.parent.glob(f"{path.name}-*")):  # the journal of a database that is gone, which would be read into this
        return
    copy = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        shutil.copyfile(template, copy)
        os.link(copy, path)  # unlike a rename, it fails where something is
    finally:
        copy.unlink(missing_ok=True)
