"""What tuning is worth: the papers' settings against tuned ones, and which hyperparameters decide, by loss.

    python tests/benchmarks/tuning.py       # seconds, from the committed tables of `search_table.py`

Each of twelve losses stands there with 200 settings (a Sobol sequence over all that a study searches) and its paper's,
in seven situations, on four folds. A setting is chosen on two folds and scored on the other two, both ways round, so
that choosing among many earns nothing by chance. Scores are validation scores of short trainings of heads and small
networks, MAP@R on classes never seen or accuracy on known ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from search import Table, shipped

import mlcompare.losses  # noqa: F401  (registers them)
from mlcompare.comparison.importance import leave_one_out_r2
from mlcompare.registry import get_spec
from mlcompare.search.space import Choice, Range

REPORT = Path(__file__).resolve().parent / "results" / "tuning.txt"
HALVES = (((0, 1), (2, 3)), ((2, 3), (0, 1)))  # folds to choose on, folds to score on
FEW, DRAWS = 6, 400  # trials of a small search, and how often it is drawn
NAMES = {"lr": "lr", "head_lr_ratio": "head lr", "head_weight_decay": "head wd", "samples_per_class": "K",
         "margin": "m", "scale": "s", "weight": "λ", "alpha": "α"}  # fmt: skip
TOP = 10  # settings that say where the optimum lies
SHOWN = ("margin", "scale", "weight", "alpha")


def family(loss: str) -> str:
    return get_spec(loss).family


def worth(table: Table, rng: np.random.Generator) -> dict[str, list[tuple[float, float]]]:
    """Return what the paper's setting, the best of a few and the best of all score, both ways round.

    Each as two scores: on the folds that it was chosen on, and on the others, which judge it.
    """
    scores = np.nan_to_num(table.scores)  # (N, folds)
    found: dict[str, list[tuple[float, float]]] = {"paper": [], "few": [], "all": []}
    drawn = np.flatnonzero(table.source == "sobol")
    for choose, judge in HALVES:
        chosen_by, judged = scores[:, choose].mean(axis=1), scores[:, judge].mean(axis=1)
        found["paper"].append((float(chosen_by[0]), float(judged[0])))
        found["all"].append((float(chosen_by.max()), float(judged[chosen_by.argmax()])))
        picks = np.array([np.append(rng.choice(drawn, FEW - 1, replace=False), 0) for _ in range(DRAWS)])
        best = picks[np.arange(DRAWS), chosen_by[picks].argmax(axis=1)]
        found["few"].append((float(chosen_by[best].mean()), float(judged[best].mean())))
    return found


def lead(scores: dict[str, list[tuple[float, float]]]) -> float:
    """Return the score of the best margin loss minus that of the best metric loss, in one situation.

    The best of a family is named where its settings were chosen, and scored on the other folds. There are seven metric
    losses and five margin losses, and the best of seven is better by luck: so it is the mean over all five of seven.
    """
    kinds = {kind: [loss for loss in scores if family(loss) == kind] for kind in ("margin", "metric")}
    size = min(map(len, kinds.values()))

    def best(losses: Iterable[str], half: int) -> float:
        return max(scores[loss][half] for loss in losses)[1]

    def mean_best(kind: str, half: int) -> float:
        return float(np.mean([best(some, half) for some in itertools.combinations(kinds[kind], size)]))

    return float(np.mean([mean_best("margin", half) - mean_best("metric", half) for half in range(len(HALVES))]))


def importances(table: Table, *, upper_half: bool = False) -> dict[str, float]:
    """Return the share of the scores' variance that a parabola in each hyperparameter predicts for settings left out.

    Of all settings that were drawn, or of the half that scores best.
    """
    drawn = table.source == "sobol"
    if upper_half:
        drawn &= table.mean >= np.median(table.mean[drawn])
    searched = [name for name, dimension in table.space.items() if isinstance(dimension, Range | Choice)]
    return {
        name: leave_one_out_r2(table.cube[drawn, column], table.mean[drawn])
        for column, name in enumerate(searched)
        if np.ptp(table.cube[drawn, column]) > 0
    }


def optimum(table: Table, name: str) -> tuple[float, float, float] | None:
    """Return quartiles of a hyperparameter among the ten best settings, or None where it is not searched."""
    if not isinstance(table.space.get(name), Range):
        return None
    best = np.argsort(-table.mean, kind="stable")[:TOP]
    low, middle, high = np.quantile([table.settings[number][name] for number in best], (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def lines() -> Iterator[str]:
    rng, found = np.random.default_rng(0), {(table.situation, table.loss): table for table in shipped()}
    situations = sorted({situation for situation, _ in found})
    losses = sorted({loss for _, loss in found}, key=lambda loss: (family(loss), loss))
    scores = {key: worth(table, rng) for key, table in found.items()}
    judged = {
        key: {name: np.mean([on for _, on in halves]) for name, halves in of.items()} for key, of in scores.items()
    }
    told = pd.DataFrame(judged).T.rename_axis(["situation", "loss"])
    yield f"{'':18}{'paper':>8}{f'best of {FEW}':>11}{'best of all':>13}{'gain':>8}{'least':>8}{'most':>8}"
    for loss in losses:
        mine = told.xs(loss, level="loss")
        gain = mine["all"] - mine["paper"]
        row = "".join(f"{value:>{width}.3f}" for value, width in zip(mine.mean(), (8, 11, 13)))
        yield f"{loss:18}{row}{gain.mean():>+8.3f}{gain.min():>+8.3f}{gain.max():>+8.3f}"
    yield f"means of {len(situations)} situations; gain: best of all minus the paper's, mean, least, most"
    yield ""
    for name, what in (("paper", "the papers' settings"), ("few", f"best of {FEW}"), ("all", "best of all")):
        leads = [lead({loss: scores[situation, loss][name] for loss in losses}) for situation in situations]
        reach = stats.t.ppf(0.975, len(leads) - 1) * np.std(leads, ddof=1) / math.sqrt(len(leads))
        yield (
            f"{what}: the best margin loss is ahead of the best metric loss in {sum(one > 0 for one in leads)} of "
            f"{len(leads)} situations, by {np.mean(leads):+.3f} ± {reach:.3f} in the mean"
        )
    yield "the best named where its settings were chosen, of five losses each; Student's 95 % over situations, of which"
    yield "several are of one data set (digits, faces, characters), so that it is too short"
    yield ""
    for upper_half in (False, True):
        shares = {key: importances(table, upper_half=upper_half) for key, table in found.items()}
        yield f"{'':18}" + "".join(f"{short:>9}" for short in NAMES.values()) + "  most of the others"
        for loss in losses:
            mean = pd.DataFrame({situation: shares[situation, loss] for situation in situations}).mean(axis=1)
            known = "".join(f"{mean[name]:>9.2f}" if name in mean else f"{'–':>9}" for name in NAMES)
            others = mean.drop([name for name in NAMES if name in mean]).sort_values(ascending=False)
            yield f"{loss:18}{known}  " + (f"{others.index[0]} {others.iloc[0]:.2f}" if len(others) else "–")
        which = "the better half of 200" if upper_half else "200"
        yield f"share of the variance over {which} settings that one hyperparameter predicts alone; mean of situations"
        yield ""
    yield f"{'':18}{'':9}{'paper':>8}" + "".join(f"{situation:>23}" for situation in situations)
    for loss in losses:
        for name in SHOWN:
            where = [optimum(found[situation, loss], name) for situation in situations]
            if any(part is not None for part in where):
                paper = found[situations[0], loss].settings[0].get(name)
                cells = "".join(
                    f"{'–' if part is None else f'{part[1]:.3g} ({part[0]:.2g}–{part[2]:.2g})':>23}" for part in where
                )
                yield f"{loss:18}{NAMES[name]:9}{paper:>8.3g}{cells}"
    yield f"median and quartiles of the {TOP} best of 200 settings"


def main() -> None:
    text = "\n".join(lines())
    REPORT.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
