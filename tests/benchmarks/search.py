"""Search strategies compared: how many trainings until a setting is within 1 % of the best one known.

    python tests/benchmarks/search.py            # replays on the committed tables, in minutes on two cores
    python tests/benchmarks/search.py --priors   # writes the priors that come with the package, in one minute

The tables (see `search_table.py`) hold what each of a loss's settings scores in each situation. A replay lets a
strategy propose points of the unit cube; what it proposes is answered by the nearest setting not tried before. What
learns from other situations never sees one of the dataset that it is judged on; of the situations that priors leave out
(`HELD_OUT`) nobody has learnt anything.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from search_table import HELD_OUT, LOSSES, SITUATIONS
from sklearn.ensemble import RandomForestRegressor

import mlcompare.search
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.search.earlier import Earlier, complements, expected_gains, gains, position
from mlcompare.search.priors import FILE, MEASURED, TABLES, TRAINED, group_of, nearness
from mlcompare.search.proposals import distributions
from mlcompare.search.racing import Race
from mlcompare.search.space import Choice, Range, Space
from mlcompare.search.transfer import Transfer

HERE = Path(__file__).resolve().parent
SCORES, SETTINGS = HERE / "results/search_scores.parquet", HERE / "results/search_settings.parquet"
SPACES, REPORT = HERE / "results/search_spaces.json", HERE / "results/search.txt"
MOST, REPEATS, BUDGET, NEAR = 60, 3, 20, 0.99
PRIORS, QUICK, FOLDS = 8, 5, 4
PARTS, FLAT, DRAWN, TOP = 10, 0.01, 4000, 0.95
PRIORS_FILE = Path(mlcompare.search.__file__).parent / FILE

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class Table:
    """A loss in a situation: its space, N settings, their source, ``curves (N, folds, S)`` and places in the cube."""

    situation: str
    loss: str
    space: Space
    settings: tuple[dict, ...]
    source: np.ndarray
    curves: np.ndarray
    steps: np.ndarray
    cube: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """What each setting scores on each fold in the end, ``(N, folds)``."""
        return self.curves[:, :, -1]

    @property
    def mean(self) -> np.ndarray:
        """The objective, ``(N,)``; failed settings are the worst."""
        return np.nan_to_num(self.scores.mean(axis=1), nan=0.0)

    @property
    def good(self) -> np.ndarray:
        """Which settings are within 1 % of the best."""
        return self.mean >= NEAR * self.mean.max()


def space_of(described: dict) -> Space:
    """Return a space as the library has it, from its description."""
    space: Space = {}
    for name, value in described.items():
        if isinstance(value, dict):
            space[name] = Choice(tuple(value["values"]), value["default"]) if "values" in value else Range(**value)
        else:
            space[name] = value
    return space


@cache
def tables() -> dict[tuple[str, str], Table]:
    """Return every table by situation and loss."""
    scores, settings = pd.read_parquet(SCORES), pd.read_parquet(SETTINGS)
    spaces = json.loads(SPACES.read_text(encoding="utf-8"))
    said = dict(list(settings.groupby(["situation", "loss"], observed=True)))
    found = {}
    for key, rows in scores.groupby(["situation", "loss"], observed=True):
        situation, loss = map(str, key)
        last, steps = int(rows["step"].max()), sorted({int(step) for step in rows["step"] if step > 0})
        at_end = rows[rows["step"] == 0].assign(step=last)  # a training that failed
        points = pd.concat([rows[rows["step"] > 0], at_end]).pivot(
            index=["setting", "fold"], columns="step", values="value"
        )
        curves = points.to_numpy().reshape(-1, FOLDS, len(steps))
        mine = said[key].sort_values("setting")
        values, space = tuple(map(json.loads, mine["values"])), space_of(spaces[situation][loss])
        cube = np.array([position(space, setting) for setting in values])
        source = mine["source"].to_numpy()
        found[situation, loss] = Table(situation, loss, space, values, source, curves, np.array(steps), cube)
    return found


def shipped() -> list[Table]:
    """Return the tables that priors are made of."""
    return [table for table in tables().values() if table.situation not in HELD_OUT]


class Replay:
    """Tries settings of a table, one at a time, and remembers them.

    Attributes:
        tried: their numbers, in order; ``told`` what the search hears of each, ``whole`` those that no race stopped.
        trainings: what it cost; one that stops half-way counts half.
    """

    def __init__(self, table: Table, rng: np.random.Generator, racing: str | None = None) -> None:
        self.table, self.rng, self.racing = table, rng, racing
        self.tried: list[int] = []
        self.told: list[float] = []
        self.whole: list[int] = []
        self.trainings = 0.0

    def row(self, number: int) -> float:
        """Try a setting of the table by its number; as far as the race lets it go."""
        self.tried.append(number)
        table, score = self.table, float(self.table.mean[number])
        whole = [(self._scores(n), self._curves(n)) for n in self.whole] if self.racing else []
        race = Race(whole, early=self.racing == "early")
        cost = float(FOLDS)
        if self.racing in ("early", "folds"):
            for seen in range(1, FOLDS):
                scores = dict(list(self._scores(number).items())[:seen])
                if race.behind(scores):
                    cost, score = seen, race.expected(scores)
                    break
        elif self.racing == "steps":
            mean = dict(zip(table.steps, table.curves[number].mean(axis=0)))
            for step, least in race.least:
                if mean[step] < least:
                    cost, score = FOLDS * step / table.steps[-1], float(mean[step])
                    break
        if cost == FOLDS:
            self.whole.append(number)
        self.trainings += cost
        self.told.append(score)
        return score

    def _scores(self, number: int) -> dict[int, float]:
        return dict(enumerate(np.nan_to_num(self.table.scores[number])))

    def _curves(self, number: int) -> dict[int, dict[int, float]]:
        curves = np.nan_to_num(self.table.curves[number])
        return {fold: dict(zip(self.table.steps.tolist(), curve)) for fold, curve in enumerate(curves)}

    def near(self, point: np.ndarray) -> tuple[int, float]:
        """Try the untried setting nearest to a point."""
        distance = ((self.table.cube - point) ** 2).sum(axis=1)
        distance[self.tried] = np.inf
        number = int(distance.argmin())
        return number, self.row(number)

    @property
    def over(self) -> bool:
        return len(self.tried) >= MOST or bool(self.table.good[self.whole].any())


def first(replay: Replay, numbers: list[int]) -> None:
    """Try given settings in order."""
    for number in numbers:
        if not replay.over and number not in replay.tried:
            replay.row(number)


def known(replay: Replay) -> None:
    """Try the paper's setting and what is known of the loss, at most a third of the budget."""
    numbers = [int(n) for n in np.flatnonzero(replay.table.source != "sobol")]
    first(replay, numbers[: 1 + BUDGET // 3])


@cache
def suggested(situation: str, loss: str) -> list[dict]:
    """Return what is best for the loss in the other situations, by the library's own rule."""
    table, known = tables()[situation, loss], json.loads(SPACES.read_text(encoding="utf-8"))
    told = elsewhere(situation, loss)
    if not told:
        return []
    candidates, gain = expected_gains(table.space, told)
    classes = [known[other.situation]["situation"]["classes"] for other in told]
    weights = nearness(classes, known[situation]["situation"]["classes"])
    return [candidates[number][0] for number in complements(gain, PRIORS, weights)]


def priors(replay: Replay) -> None:
    """Try the paper's setting, then what was best in other situations."""
    first(replay, [0])
    for values in suggested(replay.table.situation, replay.table.loss):
        if not replay.over:
            replay.near(position(replay.table.space, values))


@cache
def transfer_for(situation: str, loss: str) -> Transfer:
    """Return the library's search with what situations of other datasets tell."""
    return Transfer(tables()[situation, loss].space, elsewhere(situation, loss))


@cache
def elsewhere(situation: str, loss: str) -> list[Earlier]:
    """Return what situations of other datasets, with the same kind of encoder, tell of a loss."""
    spaces = json.loads(SPACES.read_text(encoding="utf-8"))
    known = {name: said["situation"] for name, said in spaces.items()}
    data, head = known[situation]["dataset"], known[situation]["encoder"] in MEASURED
    alike = {name for name, of in known.items() if of["dataset"] != data and (of["encoder"] in MEASURED) == head}
    return [table for table in earlier(loss) if table.situation in alike]


def transferred(replay: Replay) -> None:
    """Try the paper's setting, then go on as `search.start: priors` does; as version 0.1 did where nothing is known."""
    table = replay.table
    if not elsewhere(table.situation, table.loss):
        known(replay)
        tpe(replay)
        return
    search = transfer_for(table.situation, table.loss)
    first(replay, [0])
    while not replay.over:
        tried = [table.settings[number] for number in replay.tried]
        values, _ = search.next(tried, replay.told)
        replay.near(position(table.space, values))


def at_random(replay: Replay) -> None:
    while not replay.over:
        replay.near(replay.rng.random(replay.table.cube.shape[1]))


def by_optuna(replay: Replay, sampler: optuna.samplers.BaseSampler) -> None:
    """Let a sampler of Optuna go on from what was tried."""
    study, table = optuna.create_study(direction="maximize", sampler=sampler), replay.table
    kinds = distributions(table.space)

    def told(number: int) -> optuna.trial.FrozenTrial:
        params = {name: table.settings[number][name] for name in kinds}
        score = replay.told[replay.tried.index(number)]
        if number in replay.whole:
            return optuna.trial.create_trial(params=params, distributions=kinds, value=score)
        state, seen = optuna.trial.TrialState.PRUNED, {1: score}
        return optuna.trial.create_trial(state=state, params=params, distributions=kinds, intermediate_values=seen)

    study.add_trials([told(number) for number in replay.tried])
    while not replay.over:
        asked = study.ask(kinds)
        study.tell(asked, state=optuna.trial.TrialState.FAIL)  # what is nearest to it is told instead
        study.add_trial(told(replay.near(position(table.space, asked.params))[0]))


def seed(replay: Replay) -> int:
    return int(replay.rng.integers(2**31))


def tpe(replay: Replay, startup: int = BUDGET // 3) -> None:
    by_optuna(replay, optuna.samplers.TPESampler(seed=seed(replay), n_startup_trials=startup))


def cmaes(replay: Replay) -> None:
    by_optuna(replay, optuna.samplers.CmaEsSampler(seed=seed(replay), n_startup_trials=1))


def gp(replay: Replay) -> None:
    by_optuna(replay, optuna.samplers.GPSampler(seed=seed(replay), n_startup_trials=max(1, BUDGET // 3 - 1)))


def auto(replay: Replay) -> None:
    """Go on with what OptunaHub's AutoSampler takes: multivariate TPE where a dimension is a choice, else GP."""
    if any(isinstance(dimension, Choice) for dimension in replay.table.space.values()):
        by_optuna(replay, optuna.samplers.TPESampler(seed=seed(replay), multivariate=True, constant_liar=True))
    else:
        by_optuna(replay, optuna.samplers.GPSampler(seed=seed(replay)))


STRATEGIES: dict[str, tuple[Callable[[Replay], None], ...]] = {
    "random": (at_random,),
    "TPE": (tpe,),
    "published, then TPE (version 0.1)": (known, tpe),
    "published, then CMA-ES": (known, cmaes),
    "published, then GP": (known, gp),
    "published, then AutoSampler": (known, auto),
    "priors, then TPE": (priors, tpe),
    "priors, then GP": (priors, gp),
    "transfer (search.start: priors)": (transferred,),
    "published, then TPE, race over folds": (known, tpe),
    "published, then TPE, race over steps": (known, tpe),
    "published, then TPE, early race": (known, tpe),
    "transfer, race over folds": (transferred,),
    "transfer, race over steps": (transferred,),
    "transfer, early race": (transferred,),
}
if importlib.util.find_spec("cmaes") is None:  # an extra of Optuna's
    del STRATEGIES["published, then CMA-ES"]
BASE, OURS = "published, then TPE (version 0.1)", "transfer, early race"


def race_of(name: str) -> str | None:
    """Return what the race of a strategy is: over folds, over steps, early or none."""
    return next((kind for kind in ("folds", "steps", "early") if kind in name.partition(", ")[2]), None)


def replayed(case: tuple[str, str, str]) -> list[dict]:
    """Return, for each repetition, how many trainings it took until a good one, and what five settings reached."""
    situation, loss, name = case
    table, found = tables()[situation, loss], []
    once = name.endswith(("GP", "AutoSampler")) or (
        name.startswith("transfer") and elsewhere(situation, loss)
    )  # slow, or not random
    for repetition in range(1 if once else REPEATS):
        rng = np.random.default_rng([repetition, zlib.crc32(f"{situation}{loss}".encode())])
        replay = Replay(table, rng, race_of(name))
        for part in STRATEGIES[name]:
            part(replay)
        reached = table.mean[[number for number in replay.tried[:QUICK] if number in replay.whole]].max()
        found.append(
            {"situation": situation, "loss": loss, "strategy": name, "tried": replay.trainings, "five": reached}
        )
    return found


def lines(found: pd.DataFrame) -> Iterator[str]:
    """Yield the report line by line: trainings until a good setting, and the score that five settings reach."""
    tried = found.groupby(["strategy", "situation", "loss"], sort=False)["tried"].median().unstack("strategy")
    five = found.groupby(["strategy", "situation", "loss"], sort=False)["five"].mean().unstack("strategy")
    yield f"{'':36}{'trainings':>10}{'fewer, median':>15}{'worst loss':>12}{'best of 5':>11}{'losses above':>14}"
    for name in STRATEGIES:
        fewer = tried[BASE] / tried[name]
        worst = 1 / fewer.groupby("loss").median().min()
        gain = (five[name] - five[BASE]).groupby("loss").mean()
        above = f"{(gain > 0).sum()} of {len(gain)}"
        yield (
            f"{name:36}{tried[name].median():10.0f}{fewer.median():14.2f}×{worst:11.2f}×"
            f"{five[name].mean():11.4f}{above:>14}"
        )
    fewer = tried[BASE] / tried[OURS]
    situation = fewer.index.get_level_values("situation")
    heads = fewer[situation != "faces"].median()  # the one network that learns from pixels
    for name in HELD_OUT:
        yield f"{name}, on which nothing was settled: {fewer[situation == name].median():.2f} times fewer in the median"
    count = f"{len(tried)} of {len(SITUATIONS) * len(LOSSES)} tables"
    yield f"{count}; {OURS}, against {BASE}: of linear and mlp encoders {heads:.2f}, of all ratio {fewer.median():.2f}"


def earlier(loss: str, names: Sequence[str] | None = None) -> list[Earlier]:
    """Return what every situation tells of a loss, or of some dimensions of its settings."""
    return [
        Earlier(table.situation, tuple({k: v for k, v in values.items() if names is None or k in names}
                                       for values in table.settings), table.mean)
        for table in shipped() if table.loss == loss
    ]  # fmt: skip


def widest(loss: str) -> Space:
    """Return the space of a loss that holds those of all situations."""
    found: Space = {}
    for table in shipped():
        if table.loss == loss:
            for name, dimension in table.space.items():
                known = found.get(name)
                if isinstance(known, Choice) and isinstance(dimension, Choice):
                    dimension = max(known, dimension, key=lambda choice: len(choice.values))
                elif isinstance(known, Range):
                    dimension = replace(known, low=min(known.low, dimension.low), high=max(known.high, dimension.high))
                elif known is not None and not isinstance(dimension, Choice):
                    dimension = known
                found[name] = dimension
    return found


def flats(loss: str) -> dict[str, dict[str, dict]]:
    """Return :func:`flat` over all situations, and over those of other data than each dataset's (``without``)."""
    known = json.loads(SPACES.read_text(encoding="utf-8"))
    datasets = {name: said["situation"]["dataset"] for name, said in known.items() if name not in HELD_OUT}
    smoothed = smoothed_shares(loss)
    without = {
        dataset: flat(loss, {s: shares for s, shares in smoothed.items() if datasets[s] != dataset})
        for dataset in sorted(set(datasets.values()))
    }
    return {"flat": flat(loss, smoothed), "flat_without": without}


def smoothed_shares(loss: str) -> dict[str, dict[str, np.ndarray]]:
    """Return, for each situation and dimension, the best of each tenth as a share of the best of all.

    A forest smooths each situation's scores over the unit cube; the best is the best that it predicts in a tenth of a
    dimension, whatever the other dimensions are.
    """
    space, found = widest(loss), {}
    searched = [name for name, dimension in space.items() if isinstance(dimension, Range | Choice)]
    cube = np.random.default_rng(0).random((DRAWN, len(searched)))
    for table in (table for table in shipped() if table.loss == loss):
        forest = RandomForestRegressor(100, min_samples_leaf=3, random_state=0)
        forest.fit(np.array([position(space, values) for values in table.settings]), table.mean)
        predicted, found[table.situation] = forest.predict(cube), {}
        for name in distributions(table.space):
            part = (cube[:, searched.index(name)] * parts_of(space[name])).astype(int)
            best = [np.quantile(predicted[part == i], TOP) for i in range(parts_of(space[name]))]
            found[table.situation][name] = np.array(best) / max(best)
    return found


def flat(loss: str, smoothed: dict[str, dict[str, np.ndarray]]) -> dict[str, dict]:
    """Return, for each dimension, between which values a loss can be within 1 % of its best, over some situations."""
    space, found = widest(loss), {}
    for name in {name: None for shares in smoothed.values() for name in shares}:
        mean = np.mean([shares[name] for shares in smoothed.values() if name in shares], axis=0)
        low = high = int(mean.argmax())
        while low > 0 and mean[low - 1] >= mean.max() - FLAT:
            low -= 1
        while high < len(mean) - 1 and mean[high + 1] >= mean.max() - FLAT:
            high += 1
        if high - low < len(mean) - 1:
            ends = ends_of(space[name])
            found[name] = {"low": ends[low][0], "high": ends[high][1], "worst": round(float(mean.min()), 3)}
        else:
            found[name] = {"low": None, "high": None, "worst": round(float(mean.min()), 3)}  # it hardly matters at all
    return found


def parts_of(dimension: Range | Choice) -> int:
    return len(dimension.values) if isinstance(dimension, Choice) else PARTS


def ends_of(dimension: Range | Choice) -> list[tuple]:
    if isinstance(dimension, Choice):
        return [(value, value) for value in dimension.values]
    return list(itertools.pairwise(value_at(dimension, part / PARTS) for part in range(PARTS + 1)))


def value_at(dimension: Range, share: float) -> float:
    """Return the value at a share of a range's width, three digits of it."""
    low, high = dimension.low, dimension.high
    value = low * (high / low) ** share if dimension.log else low + (high - low) * share
    return float(f"{value:.3g}")


def best_for_any(space: Space, told: list[Earlier]) -> list[dict]:
    """Return the settings that are among the first for all situations together, or with more weight on one of them."""
    candidates, gain = expected_gains(space, told)
    kept = dict.fromkeys(complements(gain, PRIORS))
    for situation in range(len(gain)):
        kept |= dict.fromkeys(complements(gain, PRIORS, 1 + len(gain) * (np.arange(len(gain)) == situation)))
    return [
        {
            "values": short(candidates[number][0]),
            "from": candidates[number][1],
            "gains": {table.situation: round(float(g), 3) for table, g in zip(told, gain[:, number])},
        }
        for number in kept
    ]  # fmt: skip


def short(values: dict) -> dict:
    """Return a setting with three digits of each number: they do."""
    return {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in values.items()}


def write_priors() -> None:
    """Write the priors that come with the package from all tables."""
    spaces, losses = json.loads(SPACES.read_text(encoding="utf-8")), {}
    for loss in dict.fromkeys(table.loss for table in shipped()):
        losses[loss] = {"settings": best_for_any(widest(loss), earlier(loss)), **flats(loss)}
    groups: dict[str, list[str]] = {}
    for loss in losses:
        groups.setdefault(group_of(LossEntry(loss, "single", (Term(loss),))), []).append(loss)
    shared = {}
    for group, members in groups.items():
        space = {name: d for loss in members for name, d in widest(loss).items() if name in TRAINED}
        shared[group] = {"settings": best_for_any(space, together(members)), "losses": members}
    situations = {name: said["situation"] for name, said in spaces.items() if name not in HELD_OUT}
    text = json.dumps({"situations": situations, "groups": shared, "losses": losses}, indent=1)
    PRIORS_FILE.write_text(text + "\n", encoding="utf-8")
    rows = [
        (table.loss, table.situation, json.dumps(short(values)), score)
        for table in shipped()
        for values, score in zip(table.settings, table.mean)
    ]
    frame = pd.DataFrame(rows, columns=["loss", "situation", "values", "score"])
    frame = frame.astype({"loss": "category", "situation": "category", "score": "float32"}).round({"score": 4})
    frame.to_parquet(PRIORS_FILE.with_name(TABLES), index=False, compression="zstd")


def together(losses: list[str]) -> list[Earlier]:
    """Return what every situation tells of the training of several losses: each loss's gains, one after the other."""
    told: dict[str, list[Earlier]] = {}
    for loss in losses:
        for table in earlier(loss, TRAINED):
            told.setdefault(table.situation, []).append(table)
    return [
        Earlier(
            name, tuple(s for part in parts for s in part.settings), np.concatenate([gains(p.scores) for p in parts])
        )
        for name, parts in told.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--priors", action="store_true", help="write the package's priors.json from the tables instead")
    if parser.parse_args().priors:
        write_priors()
        return
    cases = [(*key, name) for key, name in product(tables(), STRATEGIES)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pd.DataFrame([row for rows in pool.map(replayed, cases, chunksize=4) for row in rows])
    report = "\n".join(lines(found)) + "\n"
    REPORT.write_text(report, encoding="utf-8")
    print(report, end="")


if __name__ == "__main__":
    main()
