"""What the notebooks share: the budget, the data, one look for all figures, intervals, and tables of claims."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image, Markdown, display
from scipy import stats

from mlcompare import load_results
from mlcompare.comparison import load_per_class, score_array
from mlcompare.comparison.family import contrast

HERE = Path(__file__).resolve().parent
FULL = os.environ.get("MLCOMPARE_BUDGET", "full") != "small"

# Okabe and Ito's palette, told apart by colour-blind readers; a loss has one colour in all notebooks
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#D9C600", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY, BROWN = "#999999", "#7A4B2A"
CLASS_COLOURS = (BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK, GREY, BROWN)
COLOURS = {
    "softmax": BLACK, "modified_softmax": GREY, "normface": ORANGE, "l2_softmax": SKY, "ring": PINK, "ccl": BROWN,
    "up_softmax": GREEN, "heated_up_softmax": RED, "l_softmax": SKY, "sphereface": GREEN, "cosface": BLUE,
    "arcface": RED, "center": PINK, "contrastive": SKY, "triplet": BLUE, "triplet_semihard": BROWN, "trihard": YELLOW,
    "lifted_structure": GREEN, "margin_based": PINK,
}  # fmt: skip

plt.rcParams.update(
    {
        "figure.dpi": 80, "font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False,
        "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.6, "figure.constrained_layout.use": True,
    }
)  # fmt: skip
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message="IProgress not found")  # progress bars are for terminals


def budget(small, full):
    """Return the second value where the notebook runs in full, the first where it is only tried out."""
    return full if FULL else small


def mnist_folder() -> str | None:
    """Return the folder of MNIST's four IDX files, or None: ``MLCOMPARE_MNIST``, or ``data/mnist`` near the repository.

    The second is looked up in the repository, beside it, and in the folder ``shared`` beside it.
    """
    given = os.environ.get("MLCOMPARE_MNIST")
    root = HERE.parent
    places = (
        [Path(given)] if given else [base / "data" / "mnist" for base in (root, root.parent, root.parent / "shared")]
    )
    return next((str(place) for place in places if place.is_dir()), None)


@cache
def mnist():
    """Return MNIST with its official split, read once."""
    from mlcompare.data import load_dataset

    folder = mnist_folder()
    if folder is None:
        raise SystemExit("this notebook needs MNIST's four IDX files: name their folder in MLCOMPARE_MNIST")
    return load_dataset("idx", path=folder)


def small_mnist(digits=range(10), *, train: int = 400, test: int = 2000):
    """Return a closed-set task on MNIST at 14 × 14 pixels (2 × 2 means), small enough for a busy processor.

    Args:
        digits: which classes.
        train: training images of each class that are kept; a fold trains on half of them.
        test: how many of the official test images are kept, evenly spread.
    """
    from mlcompare.data import Dataset, draw_splits
    from mlcompare.training import TrainingData

    whole = mnist()
    trains, rows = whole.split == "train", np.flatnonzero(np.isin(whole.labels, list(digits)))
    first = np.concatenate([np.flatnonzero(trains & (whole.labels == digit))[:train] for digit in digits])
    rows = np.concatenate([np.sort(first), rows[~trains[rows]]])
    pixels = whole.samples[rows].reshape(-1, 1, 14, 2, 14, 2).mean((3, 5)).round().astype(np.uint8)
    names, labels = np.unique(whole.labels[rows], return_inverse=True)
    dataset = Dataset("mnist-14", pixels, labels, tuple(map(str, names)), split=whole.split[rows])
    splits = draw_splits(labels, kind="closed_set", folds=2, official=dataset.split)
    step = max(1, len(splits.test) // budget(200, test))
    return TrainingData(dataset, replace(splits, test=splits.test[::step]))


def fit(
    loss, data, *, dim: int = 16, seed: int = 0, channels=(8, 16, 32), training=None, metrics=("accuracy",), **values
):
    """Train one encoder on fold 0 and score it on the test images: return the result and what was trained.

    Raises:
        RuntimeError: the training failed; the message is its reason.
    """
    from mlcompare.training import EncoderConfig, TrainingConfig, TrainingJob, restore, train

    batch = {"classes_per_batch": min(10, len(data.dataset.class_names)), "samples_per_class": 8}
    settings = {"steps": 150, "lr": 1e-2, "schedule": "cosine", **batch, **(training or {})}
    settings["steps"] = budget(3, settings["steps"])
    encoder = EncoderConfig("conv", dim, {"channels": tuple(channels)})
    how = {"split": "test", "metrics": metrics, "encoder": encoder, "training": TrainingConfig(**settings)}
    job = TrainingJob.of(loss, random_state=seed, **how, **values)
    result = train(job, data)
    if result.status != "ok":
        raise RuntimeError(f"{job.key}: {result.reason}")
    return result, restore(job, data, result)


def geometry(result) -> dict[str, float]:
    """Return angles, norms and spectrum of a kept result's test embeddings."""
    from mlcompare.evaluation import embedding_geometry

    return embedding_geometry(result.artifacts["embeddings"], result.artifacts["labels"])


def show(figure, *, dpi: int = 80) -> None:
    """Display a figure as a small PNG of 64 colours."""
    from PIL import Image as Pixels

    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, dpi=dpi)
    plt.close(figure)
    Pixels.open(raw).convert("RGB").quantize(64, dither=Pixels.Dither.NONE).save(small, "png", optimize=True)
    display(Image(small.getvalue()))


def table(frame: pd.DataFrame, digits: int = 3) -> None:
    """Display a data frame as a Markdown table."""
    cells = frame.map(lambda v: f"{v:.{digits}f}" if isinstance(v, float | np.floating) else str(v))
    rows = [list(map(str, cells.columns)), ["---"] * cells.shape[1], *cells.to_numpy().tolist()]
    display(Markdown("\n".join("| " + " | ".join(row) + " |" for row in rows)))


@dataclass(frozen=True)
class Estimate:
    """A measured number and its 95 % interval; both ends are the number itself where nothing about it is random."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 3 if max(abs(self.value), abs(self.low), abs(self.high)) < 10 else 1
        value, low, high = (f"{number:.{digits}f}" for number in (self.value, self.low, self.high))
        return value if self.low == self.high else f"{value} ({low} to {high})"


def over_seeds(values) -> Estimate:
    """Return the mean over runs with Student's 95 % interval; one run has no interval (from −∞ to ∞)."""
    values = np.asarray(values, dtype=float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Estimate(mean, -np.inf, np.inf)
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half)


class StoredStudy:
    """The tables of a study that was run before, under ``results/<name>``."""

    def __init__(self, name: str) -> None:
        self.path = HERE / "results" / name
        self.results = load_results(self.path)
        metric = self.results.loc[self.results["kind"] == "trial", "metric"].iloc[0]
        self.metric = metric
        self.scores = score_array(self.results, load_per_class(self.path), metric, source="selected")
        self.whole = score_array(self.results, None, metric, source="selected")  # all classes together

    def of(self, name: str) -> Estimate:
        """Return an entry's mean on the sealed test classes, its interval over classes, folds and seeds."""
        return self._estimate(self.scores.of(name))

    def difference(self, a: str, b: str, *, classes: bool = True) -> Estimate:
        """Return the paired difference a − b on the sealed test classes, its interval over classes, folds and seeds.

        Without ``classes`` it is over folds and seeds: these test samples are taken as all that there are.
        """
        scores = self.scores if classes else self.whole
        return self._estimate(scores.of(a) - scores.of(b))

    def _estimate(self, values: np.ndarray) -> Estimate:
        found = contrast(values, self.scores.folds)
        return Estimate(found.difference, found.ci_low, found.ci_high)


@dataclass
class Claims:
    """Claims of the literature beside what was measured here.

    A prediction is ``above x``, ``below x`` or ``within ±x``; the verdict is *yes* where the whole interval keeps it,
    *no* where the whole interval breaks it, and *can't tell* in between.
    """

    rows: list[dict[str, str]] = field(default_factory=list)

    def add(self, claim: str, measured: str, estimate: Estimate, prediction: str) -> None:
        """Add a claim; ``measured`` says what the number is."""
        self.rows.append(
            {
                "paper says": claim,
                "measured here (95 % interval)": f"{measured}: {estimate}",
                "agrees if": prediction,
                "agrees?": verdict(estimate, prediction),
            }
        )

    def show(self) -> None:
        """Display them as a table."""
        table(pd.DataFrame(self.rows))


def verdict(estimate: Estimate, prediction: str) -> str:
    """Return ``yes``, ``no`` or ``can't tell``.

    >>> verdict(Estimate(0.2, 0.1, 0.3), "above 0"), verdict(Estimate(0.2, -0.1, 0.3), "within ±0.25")
    ('yes', "can't tell")
    """
    kind, text = prediction.split(" ")
    bound = float(text.removeprefix("±"))
    low, high = (-bound if kind == "within" else -np.inf), (np.inf if kind == "above" else bound)
    low = bound if kind == "above" else low
    if low <= estimate.low and estimate.high <= high:
        return "yes"
    return "no" if estimate.high < low or estimate.low > high else "can't tell"


def holds(quoted: dict[str, float], *, stored: bool = False) -> None:
    """Check the figures that a notebook's text quotes in **bold**: each key is the text, each value what was measured.

    ``stored`` figures come from a study's tables and hold under every budget; the others are measured by the notebook
    itself, so that they are only checked where it runs in full.

    Raises:
        AssertionError: a quoted figure isn't what was measured, rounded as quoted.
    """
    if not (FULL or stored):
        return
    for text, value in quoted.items():
        number = text.rstrip(" %×")
        digits = len(number.partition(".")[2])
        value = 100 * value if text.endswith("%") else value
        assert f"{value:.{digits}f}" == number.replace("−", "-"), f"the text says {text}, measured {value}"
    print(f"{len(quoted)} quoted figures hold")
