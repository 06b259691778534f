"""Ranked lists of everyone among everyone, at half the price: each block of the symmetric matrix is made once.

A float32 product is only the filter. For each query a threshold, guessed from a sample of the gallery, lets a little
more than K candidates through, from both sides of a block; a block of queries is finished, its candidates forgotten, as
soon as it has met all others. Neighbours whose float32 order could be wrong, a positive and a negative closer than
the rounding error, are put in order by their exact cosines, ties against the embedding as everywhere. A query whose
guess was too high is reported as unfinished, for the plain way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from mlcompare.evaluation.inputs import GRID, Samples

__all__ = ["FinishedLists", "pays", "symmetric_lists"]

BLOCK = 1024  # rows of a block: 4 MB of float32 similarities, which stay in the cache
SAMPLE = 4096  # gallery samples from which thresholds are guessed
FEWEST = 2 * SAMPLE  # below that many samples there is nothing to gain
ID_BITS, VALUE_BITS = 22, 31  # of a candidate's 64-bit key: row in its block, similarity (descending), gallery index
COSINE_BITS = 34  # of a number that orders a run: 2³³ cosines on the grid, and whether it is a hit
ROWS = 64  # queries whose exact cosines with all others are held at one time
GATHERED = 16  # as many cosines of a whole product cost what one of two gathered rows does
UNIT = 2.0 ** (VALUE_BITS - 2)  # similarities -1 … 1 become 0 … 2³⁰


@dataclass(frozen=True)
class FinishedLists:
    """A block of queries: ``rows (b,)``, ``hits (b, K)`` by rank, and ``complete (b,)``: whether a row may be used."""

    rows: np.ndarray
    hits: np.ndarray
    complete: np.ndarray


@dataclass
class _State:
    """What the workers share; each block's candidates wait in ``waiting`` until the block has met all others."""

    single: torch.Tensor  # (N, D) float32
    double: np.ndarray  # (N, D) float64
    codes: np.ndarray  # (N,)
    depth: np.ndarray  # (N,) how many neighbours are needed
    threshold: np.ndarray  # (N,) float32
    tolerance: float  # float32 similarities closer than this may be in the wrong order
    waiting: list[list[np.ndarray]] = field(default_factory=list)


def pays(samples: Samples, deepest: int) -> bool:
    """Whether the symmetric way is the faster one: on the CPU, with many samples and lists much shorter than they."""
    n = len(samples)
    return samples.vectors.device.type == "cpu" and FEWEST <= n < 2**ID_BITS and deepest <= n // 8


def symmetric_lists(samples: Samples, depth: np.ndarray) -> Iterator[FinishedLists]:
    """Yield the ranked lists of all samples among all others, block by block; ``depth (N,)`` neighbours for each."""
    threads = torch.get_num_threads()
    blocks = math.ceil(len(samples) / BLOCK)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            state, finishing = _prepare(samples, depth, pool), None
            state.waiting = [[] for _ in range(blocks)]
            for i in range(blocks):
                met = [pool.submit(_meet, state, i, j) for j in range(i, blocks)]
                if finishing is not None:
                    yield finishing.result()
                for j, future in enumerate(met, start=i):
                    mine, theirs = future.result()
                    state.waiting[i].append(mine)
                    state.waiting[j].append(theirs)
                finishing = pool.submit(_finish, state, i)
            if finishing is not None:
                yield finishing.result()
        finally:
            torch.set_num_threads(threads)


def _prepare(samples: Samples, depth: np.ndarray, pool: ThreadPoolExecutor) -> _State:
    """Guess the thresholds and measure the rounding error on a random sample of the gallery (a fixed one)."""
    n = len(samples)
    single, chosen = samples.vectors.float(), np.random.default_rng(0).permutation(n)[:SAMPLE]
    sample = single[chosen].T.contiguous()  # (D, S)
    expected = depth * (SAMPLE / n)
    place = np.ceil(expected + 2.0 * np.sqrt(expected)).astype(np.int64) + 1  # one row in forty guesses too high
    place = SAMPLE - np.minimum(place, SAMPLE)

    def guess(start: int) -> tuple[np.ndarray, float]:
        similarity = (single[start : start + BLOCK] @ sample).numpy()  # (b, S)
        exact = samples.vectors[start : start + 8] @ samples.vectors[chosen].T
        error = np.abs(similarity[:8] - exact.numpy()).max()
        at = place[start : start + BLOCK]
        similarity.sort(axis=1)  # in vector registers: six times as fast as a partition at several places
        return similarity[np.arange(len(at)), at], float(error)

    thresholds, errors = zip(*pool.map(guess, range(0, n, BLOCK)))
    own = (single * single).sum(dim=1) - 1.0  # sums of positive terms err the most
    error = max(*errors, float(own.abs().max()), 2.0**-23)
    tolerance = 2 * 3 * error  # both of a pair, and three times what the sample showed
    return _State(single, samples.vectors.numpy(), samples.codes.numpy(), depth, np.concatenate(thresholds), tolerance)


def _meet(state: _State, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Let blocks i and j meet; return the candidates' keys for the queries of i and for those of j."""
    rows, columns = slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK)
    similarity = (state.single[rows] @ state.single[columns].T).numpy()  # (b, c)
    if i == j:
        np.fill_diagonal(similarity, -2.0)
    left, right = state.threshold[rows], state.threshold[columns]
    found = np.flatnonzero((similarity > left[:, None]) | (similarity > right))
    value = similarity.ravel()[found]
    row, column = np.divmod(found, similarity.shape[1])
    wanted = np.flatnonzero(value > left[row])
    mine = _keys(row[wanted], value[wanted], column[wanted] + columns.start)
    if i == j:
        return mine, mine[:0]
    wanted = np.flatnonzero(value > right[column])
    return mine, _keys(column[wanted], value[wanted], row[wanted] + rows.start)


def _keys(row: np.ndarray, similarity: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """Pack candidates so that sorting the keys puts each row's best first."""
    value = (UNIT - similarity * np.float32(UNIT)).astype(np.int64)  # exact: a float32 times a power of two
    return (row << (VALUE_BITS + ID_BITS)) | (np.maximum(value, 0) << ID_BITS) | neighbour


def _finish(state: _State, i: int) -> FinishedLists:
    """Rank the candidates of block i, which has met everyone."""
    keys = np.concatenate(state.waiting[i])
    state.waiting[i] = []
    keys.sort()
    rows = np.arange(i * BLOCK, min((i + 1) * BLOCK, len(state.codes)))
    begins = np.searchsorted(keys, np.arange(len(rows)) << (VALUE_BITS + ID_BITS))
    counts = np.diff(begins, append=len(keys))
    hit = state.codes[keys & (2**ID_BITS - 1)] == np.repeat(state.codes[rows], counts)
    _order_exactly(state, keys, rows[0], hit)
    depth = state.depth[rows]
    enough = counts >= depth
    at = np.minimum(begins[:, None] + np.arange(depth.max()), max(len(keys) - 1, 0))  # (b, K)
    if not enough.any():
        return FinishedLists(rows, np.zeros(at.shape, dtype=bool), enough)
    last = keys[np.where(enough, begins + depth - 1, 0)] >> ID_BITS & (2**VALUE_BITS - 1)
    safe = UNIT * (1.0 - state.threshold[rows] - state.tolerance)  # those kept out can't belong before it
    return FinishedLists(rows, hit[at], enough & (last <= safe))


def _order_exactly(state: _State, keys: np.ndarray, first_row: int, hit: np.ndarray) -> None:
    """Permute ``hit`` in place where a positive and a negative are too close for float32 to order."""
    near = np.diff(keys >> ID_BITS) <= state.tolerance * UNIT  # False between rows, which lie 2³⁰ apart
    in_run = np.zeros(len(keys), dtype=bool)
    in_run[1:] |= near
    in_run[:-1] |= near
    runs = np.flatnonzero(in_run)
    if not len(runs):
        return
    opens = ~near[runs - 1]
    opens[0] = True
    positives = np.add.reduceat(hit[runs].astype(np.int64), np.flatnonzero(opens))
    run = np.cumsum(opens) - 1
    mixed = (positives > 0) & (positives < np.bincount(run))
    members, run = runs[mixed[run]], run[mixed[run]]
    query = (keys[members] >> (VALUE_BITS + ID_BITS)) + first_row
    neighbour = keys[members] & (2**ID_BITS - 1)
    exact = np.round(_cosines(state, query, neighbour) / GRID).astype(np.int64)
    # Run, cosine (descending) and hit in one number: among ties the negatives come first.
    order = (run << COSINE_BITS) | ((2**32 - exact).clip(0) << 1) | hit[members]
    order.sort()
    hit[members] = (order & 1).astype(bool)


def _cosines(state: _State, query: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
    """Return the exact cosines ``(P,)`` of pairs, ``query`` ascending. Where it pays, whole rows are made."""
    cosine = np.empty(len(query))
    rows = np.arange(query[0], query[-1] + ROWS, ROWS) if len(query) else np.empty(0, dtype=np.int64)
    for first, begin, end in zip(rows, *_bounds(query, rows)):
        left, right = query[begin:end], neighbour[begin:end]
        if (end - begin) * GATHERED > ROWS * len(state.double):
            product = state.double[first : first + ROWS] @ state.double.T  # (ROWS, N)
            cosine[begin:end] = product[left - first, right]
            continue
        for start in range(begin, end, 4096):
            part = slice(start, min(start + 4096, end))
            cosine[part] = np.einsum("ij,ij->i", state.double[query[part]], state.double[neighbour[part]])
    return cosine


def _bounds(query: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the pairs of each chunk of rows begin and end."""
    return np.searchsorted(query, rows), np.searchsorted(query, rows + ROWS)
