"""What tuning is worth: the papers' settings against tuned ones, and which hyperparameters decide, by loss.

    python tests/benchmarks/tuning.py       # seconds, from the committed tables of `search_table.py`

Each of twelve losses stands there with 200 settings (a Sobol sequence over all that a study searches) and its paper's,
in seven situations, on four folds. A setting is chosen on two folds and scored on the other two, both ways round, so
that choosing among many earns nothing by chance. Scores are validation scores of short trainings of heads and small
networks, MAP@R on classes never seen or accuracy on known ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
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


def worth(table: Table, rng: np.random.Generator) -> dict[str, float]:
    """Return what the paper's setting, the best of a few and the best of all score on folds they weren't chosen on."""
    scores = np.nan_to_num(table.scores)  # (N, folds)
    found: dict[str, list[float]] = {"paper": [], "few": [], "all": []}
    drawn = np.flatnonzero(table.source == "sobol")
    for choose, judge in HALVES:
        chosen_by, judged = scores[:, choose].mean(axis=1), scores[:, judge].mean(axis=1)
        found["paper"].append(float(judged[0]))
        found["all"].append(float(judged[chosen_by.argmax()]))
        picks = np.array([np.append(rng.choice(drawn, FEW - 1, replace=False), 0) for _ in range(DRAWS)])
        found["few"].append(float(judged[picks[np.arange(DRAWS), chosen_by[picks].argmax(axis=1)]].mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}


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
    told = pd.DataFrame({key: worth(table, rng) for key, table in found.items()}).T.rename_axis(["situation", "loss"])
    yield f"{'':18}{'paper':>8}{f'best of {FEW}':>11}{'best of all':>13}{'gain':>8}{'least':>8}{'most':>8}"
    for loss in losses:
        mine = told.xs(loss, level="loss")
        gain = mine["all"] - mine["paper"]
        row = "".join(f"{value:>{width}.3f}" for value, width in zip(mine.mean(), (8, 11, 13)))
        yield f"{loss:18}{row}{gain.mean():>+8.3f}{gain.min():>+8.3f}{gain.max():>+8.3f}"
    yield f"means of {len(situations)} situations; gain: best of all minus the paper's, mean, least, most"
    yield ""
    for name, what in (("paper", "the papers' settings"), ("few", f"best of {FEW}"), ("all", "best of all")):
        best = told[name].unstack("loss")
        kinds = np.array([family(loss) for loss in best.columns])
        margin, metric = best.loc[:, kinds == "margin"].max(axis=1), best.loc[:, kinds == "metric"].max(axis=1)
        lead = int((margin > metric).sum())
        yield (
            f"{what}: the best margin loss is ahead of the best metric loss in {lead} of {len(situations)} situations, "
            f"by {float((margin - metric).mean()):+.3f} in the mean"
        )
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
