"""What is said of images that can't be decoded, and of those that are read although something was odd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlcompare.data.counted import Counted, shown_name
from mlcompare.data.hints import nearby
from mlcompare.data.images import Unreadable
from mlcompare.errors import DataError

__all__ = ["reading_notes", "refused_images"]

NAMED = 20  # files that can't be decoded


def reading_notes(corrupt: Sequence[tuple[str, Unreadable]], warned: Counted, bits: int | None) -> list[str]:
    """Say what was left out, by reason, what decoders warned of, and what depth 16-bit grey has."""
    notes, left_out = [], Counted()
    for path, error in corrupt:
        left_out.add(error.reason, path)
    if corrupt:
        counted, verb = ("1 file", "was") if len(corrupt) == 1 else (f"{len(corrupt)} files", "were")
        notes.append(f"{counted} that can't be decoded {verb} left out (skip_corrupt): {left_out.listed()}")
    if warned.total:
        notes.append(f"decoders warned of images that are read all the same: {warned.listed()}")
    if bits not in (None, 16):
        notes.append(f"16-bit grey images hold values below {2**bits} only: they are read as {bits} bits")
    return notes


def refused_images(root: Path, corrupt: Sequence[tuple[str, Unreadable]], count: int, place: str) -> DataError:
    """Say which files can't be decoded and why, and what to do about it."""
    named = "; ".join(f"{shown_name(path)} ({error})" for path, error in corrupt[:NAMED])
    named += f"; and {len(corrupt) - NAMED} more" if len(corrupt) > NAMED else ""
    missing = [path for path, error in corrupt if error.reason == "does not exist"]
    rule = "every image must exist" if len(missing) == len(corrupt) else "every image must be readable"
    cures = [f"did you mean {found!r}?" for path in missing[:1] if (found := nearby(path, root))]
    if any(error.reason.startswith("more pixels") for _, error in corrupt):
        cures.append("let larger ones in with max_pixels: …")
    cures.append(
        "replace them, or leave them out with skip_corrupt: true" if len(corrupt) < count else "check the files"
    )
    return DataError(rule, value=f"{len(corrupt)} of {count}: {named}", cure="; ".join(cures), place=place)
