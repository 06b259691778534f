"""What an exported model finds: the nearest of a gallery, and whether two samples are of one class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcompare.errors import DataError, InvalidValueError
from mlcompare.export.embed import load_model, read_samples, unit
from mlcompare.export.standardized import embed_samples
from mlcompare.export.threshold import chosen_threshold

__all__ = ["Match", "Matches", "Pictured", "find_neighbours", "verify_pair"]

CHUNK = 1024  # queries compared with the gallery at a time


@dataclass(frozen=True)
class Pictured:
    """Samples as they were read ``(N, …)``, their names, and the label of each where they have any."""

    samples: np.ndarray
    names: list[str]
    labels: list[str] | None

    def shown(self, row: int) -> str:
        """What a person knows a sample by: its name, and its class where that says more."""
        label = self.labels[row] if self.labels else ""
        return self.names[row] if not label or label in self.names[row] else f"{self.names[row]} ({label})"


@dataclass(frozen=True)
class Match:
    """One of the nearest: the rows of query and gallery, the rank from 1 on, and the verdict of the threshold."""

    query: int
    row: int
    rank: int
    cosine: float
    same: bool | None  # None without a threshold


@dataclass(frozen=True)
class Matches:
    """What was found for all queries, nearest first, and by which threshold."""

    found: list[Match]
    gallery: Pictured
    queries: Pictured
    threshold: float | None
    told: str  # where the threshold comes from


def find_neighbours(
    model: str | Path, gallery: str | Path, query: str | Path, *, top: int = 5, far: float | None = None,
    threshold: float | None = None, note: Callable[[str], object] | None = None,
) -> Matches:  # fmt: skip
    """Return the ``top`` samples of ``gallery`` nearest to each sample of ``query`` by cosine.

    Either is a folder of images, one image, or a table, as :func:`~mlcompare.export.embed.embed_file` takes them. A
    query that is itself in the gallery is not found for itself.

    Args:
        far, threshold: which of the card's thresholds says whether two are of one class, or a cosine of one's own.
        note: called with each sentence that a person should know.

    Raises:
        InvalidValueError: ``top`` is below 1, or the card knows no such threshold.
        DataError: gallery or query is missing, broken, or not what the model takes.
        StoreError: the model is broken.
    """
    if top < 1:
        raise InvalidValueError("`top` must be 1 or more", value=f"top={top}")
    net, card = load_model(model)
    cosine, told = chosen_threshold(card.get("threshold") or {"far": 0.0, "cosine": None}, far=far, cosine=threshold)
    paths = Path(gallery).expanduser(), Path(query).expanduser()
    (theirs, them), (ours, us) = (_embedded(net, card, path, note) for path in paths)
    own = _own_places(*paths, them, us)
    found = []
    for start in range(0, len(ours), CHUNK):
        cosines = ours[start : start + CHUNK] @ theirs.T  # (q, N)
        for place, row in enumerate(own[start : start + CHUNK]):
            if row is not None:
                cosines[place, row] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :top]  # (q, top)
        for place, rows in enumerate(order):
            close = [(int(row), float(cosines[place, row])) for row in rows if np.isfinite(cosines[place, row])]
            found += [
                Match(start + place, row, rank, value, None if cosine is None else value >= cosine)
                for rank, (row, value) in enumerate(close, 1)
            ]
    return Matches(found, them, us, cosine, told)


def verify_pair(
    model: str | Path, a: str | Path, b: str | Path, *, far: float | None = None, threshold: float | None = None
) -> tuple[float, bool | None, float | None, str]:
    """Return the cosine of two samples, whether they are of one class, the threshold, and where that comes from.

    Each is one image, or a table with one row. Arguments and errors are those of :func:`find_neighbours`.
    """
    net, card = load_model(model)
    limit, told = chosen_threshold(card.get("threshold") or {"far": 0.0, "cosine": None}, far=far, cosine=threshold)
    both = []
    for path in (Path(a).expanduser(), Path(b).expanduser()):
        embeddings, _ = _embedded(net, card, path, None)
        if len(embeddings) != 1:
            cure = "give one image or one row; `mlcompare neighbours` compares many"
            raise DataError("two samples are verified", value=f"{len(embeddings)} samples", cure=cure, place=str(path))
        both.append(embeddings[0])
    cosine = float(both[0] @ both[1])
    return cosine, None if limit is None else cosine >= limit, limit, told


def _embedded(net, card, path: Path, note: Callable[[str], object] | None) -> tuple[np.ndarray, Pictured]:
    samples, columns = read_samples(card, path, note=note)
    labels = [str(label) for label in columns["labels"]] if "labels" in columns else None
    embeddings = unit(embed_samples(net, samples)).astype(np.float64)  # (N, D)
    return embeddings, Pictured(samples, [str(name) for name in columns["names"]], labels)


def _own_places(gallery: Path, query: Path, them: Pictured, us: Pictured) -> list[int | None]:
    """Return the row of the gallery that each query is itself, by its file, or by its row in the same table."""
    if gallery.is_file() and query.is_file() and query.suffix.lower() in (".npz", ".parquet"):
        return [row if gallery.samefile(query) else None for row in range(len(us.names))]
    if not gallery.is_dir():
        return [None] * len(us.names)
    root = query if query.is_dir() else query.parent
    places = {str((gallery / name).resolve()): row for row, name in enumerate(them.names)}
    return [places.get(str((root / name).resolve())) for name in us.names]
