"""What in a folder is no sample: files and folders that systems leave behind, and files that are no images."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

__all__ = ["SPLIT_FOLDERS", "LeftOut", "is_systems_own"]

# folders and files of desktops, archivers, file servers and version control, in lower case
SYSTEMS_OWN = frozenset({
    "@eadir", "@__thumb", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "__pycache__", "lost+found",
    "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
})  # fmt: skip
SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def is_systems_own(name: str) -> bool:
    """Whether a file or folder is a system's own, or hidden, and so no sample.

    >>> [is_systems_own(name) for name in ("@eaDir", "._cat.jpg", "Thumbs.db", "cat")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.lower() in SYSTEMS_OWN


class LeftOut:
    """Counts what a scan left out, by reason and by ending.

    >>> left = LeftOut()
    >>> left.add("a/x.heic"); left.add("a/y.heic"); left.add("a/.z.jpg")
    >>> left.sentence()
    '2 files that Pillow does not read as images (2 × .heic) and 1 hidden or system file or folder were left out'
    """

    def __init__(self) -> None:
        self._endings: Counter[str] = Counter()
        self._own = 0

    def add(self, path: str) -> None:
        """Count a file or folder that is no sample."""
        if is_systems_own(PurePath(path).name):
            self._own += 1
        else:
            self._endings[PurePath(path).suffix.lower() or "no ending"] += 1

    def sentence(self) -> str:
        """Say what was left out; nothing where nothing was."""
        parts, total = [], sum(self._endings.values())
        if total:
            most = sorted(self._endings.items(), key=lambda item: (-item[1], item[0]))[:8]
            listed = ", ".join(f"{count} × {ending}" for ending, count in most)
            parts.append(f"{total} file{'s' * (total > 1)} that Pillow does not read as images ({listed})")
        if self._own:
            several = "s" if self._own > 1 else ""
            parts.append(f"{self._own} hidden or system file{several} or folder{several}")
        verb = "was" if total + self._own == 1 else "were"
        return f"{' and '.join(parts)} {verb} left out" if parts else ""
