"""Put a report together and write it atomically."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mlcompare.comparison import CriticalDifference, critical_difference, scores_by_study
from mlcompare.comparison.sentences import listed
from mlcompare.errors import DataError, InvalidValueError, StoreError
from mlcompare.files import check_folder, write_atomically
from mlcompare.metrics import higher_is_better
from mlcompare.report.challenge_section import challenge_part
from mlcompare.report.dimension_section import dimension_part
from mlcompare.report.formats import number, p_value
from mlcompare.report.learning_section import learning_part
from mlcompare.report.page import Part, document, render
from mlcompare.report.paper import latex, markdown
from mlcompare.report.protocol_section import protocol_part
from mlcompare.report.ranking_plots import critical_difference_plot
from mlcompare.report.ranking_sections import (
    answer_box,
    cost_part,
    failures_part,
    leaderboard_part,
    pairs_part,
    tunability_part,
)
from mlcompare.report.sample_sections import curves_part, kept_runs, neighbours_part, views_part
from mlcompare.report.search_sections import hyperparameters_part, search_part
from mlcompare.report.study import Study, open_study
from mlcompare.report.suspects_section import suspects_part
from mlcompare.report.verdict import judge

__all__ = ["report_html", "write"]


RULE = "the report must be writable"
CURE = "name a file in a directory that exists and can be written, with --out"
TEXTS = {"html": ("report.html", lambda studies: report_html(studies)), "markdown": ("report.md", markdown),
         "latex": ("report.tex", latex)}  # fmt: skip


def write(
    stores: Sequence[Path], out: Path | None = None, *, format: str = "html", unfinished: Mapping[Path, str]
) -> Path:
    """Write the report; see :func:`mlcompare.report.write_report`."""
    name, made = TEXTS[format]
    left = {Path(store).expanduser(): told for store, told in unfinished.items()}
    stores = [Path(store).expanduser() for store in stores]
    if not stores:
        raise InvalidValueError("a report needs a store", value="none", cure="name one, such as runs/faces-quickstart")
    twice = [store for i, store in enumerate(stores) if store.resolve() in {s.resolve() for s in stores[:i]}]
    if twice:
        raise InvalidValueError("a store is named once", value=str(twice[0]), cure="leave it out the second time")
    path = stores[0] / name if out is None else Path(out)
    if out is not None or path.parent.is_dir():  # a store that isn't there is told as that
        check_folder(path.parent, RULE, cure=CURE, place=path)
    text = made([replace(open_study(store), unfinished=left.get(store, "")) for store in stores])
    _write_whole(path, text.encode())
    return path


def _write_whole(path: Path, data: bytes) -> None:
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        write_atomically(path, data)
    except OSError as error:
        raise StoreError(RULE, value=error.strerror, cure=CURE, place=str(path)) from None


def report_html(studies: Sequence[Study]) -> str:
    """Return the document; the same stores give the same text."""
    versions = sorted({study.known.get("versions", {}).get("mlcompare") for study in studies} - {None})
    if len(studies) == 1:
        study = studies[0]
        head = render("head", title=study.name, names=[], answer=answer_box(study))
        return document(f"{study.name}: comparison of losses", head, _parts(study, "s0", 2), versions)
    names, title = _distinct_names(studies), f"{len(studies)} studies compared"
    parts = [_overview_part(studies, names), _ranks_part(studies, names)]
    for position, (study, name) in enumerate(zip(studies, names)):
        parts += [Part(f"s{position}", name, answer_box(study)), *_parts(study, f"s{position}", 3)]
    return document(title, render("head", title=title, names=names, answer=""), parts, versions)


def _parts(study: Study, prefix: str, level: int) -> list[Part]:
    samples, runs = study.test_samples(), kept_runs(study)
    parts = [
        leaderboard_part(study, prefix, level),
        pairs_part(study, prefix, level),
        challenge_part(study, prefix, level),
        tunability_part(study, prefix, level),
        None if study.nested else search_part(study, prefix, level),
        learning_part(study, prefix, level),
        hyperparameters_part(study, prefix, level),
        curves_part(study, runs, prefix, level),
        dimension_part(study, prefix, level),
        views_part(study, runs, samples, prefix, level),
        neighbours_part(study, runs, samples, prefix, level),
        suspects_part(study, prefix, level),
        cost_part(study, prefix, level),
        failures_part(study, prefix, level),
        protocol_part(study, samples, prefix, level),
    ]
    return [part for part in parts if part is not None]


def _distinct_names(studies: Sequence[Study]) -> list[str]:
    """Return the studies' names; where two are equal, with their store's directory."""
    names = [study.name for study in studies]
    return [
        name if names.count(name) == 1 else f"{name} ({study.path.resolve().name}, {i + 1})"
        for i, (name, study) in enumerate(zip(names, studies))
    ]


def _overview_part(studies: Sequence[Study], names: list[str]) -> Part:
    rows = []
    for study, name in zip(studies, names):
        found = study.comparison
        best = next((row for row in found.records() if row["loss"] == found.best), None)
        dataset = study.config.get("dataset", {}).get("name", "–")
        rows.append((name, dataset, study.metric, found.best or "–", number(best["mean"] if best else None),
                     f"rule {judge(study).state}"))  # fmt: skip
    return Part("overview", "Overview", render("overview", rows=rows))


def _ranks_part(studies: Sequence[Study], names: list[str]) -> Part:
    """Mean ranks over the studies: the losses that all of them share."""
    title, part_id = "Ranks over all studies", "ranks"
    metrics = {study.metric for study in studies}
    if len(metrics) > 1:
        text = f"The studies have different objectives ({', '.join(sorted(metrics))}), so their ranks aren't averaged."
        return Part(part_id, title, render("paragraph", text=text))
    metric = metrics.pop()
    together = pd.concat([study.results.assign(study=name) for study, name in zip(studies, names)])
    scores = scores_by_study(together, metric)
    shared = scores.dropna(axis=1)
    left_out = [name for name in scores.columns if name not in shared.columns]
    try:
        found = critical_difference(shared, higher=higher_is_better(metric), data=_data_of(studies, names))
    except DataError:
        text = "Fewer than two losses have a score in every study, so there is no ranking."
        return Part(part_id, title, render("paragraph", text=text))
    plot = critical_difference_plot(found, part_id)
    rows = [
        (loss, number(rank, digits=2), *(number(shared.loc[name, loss]) for name in shared.index))
        for loss, rank in found.ranks.items()
    ]
    body = render(
        "ranks", sentence=_ranks_sentence(found), plot=plot, left_out=left_out, metric=metric, rows=rows,
        on_the_same_data=_on_the_same_data(_data_of(studies, names)), names=list(map(str, shared.index)),
    )  # fmt: skip
    return Part(part_id, title, body, [plot])


def _data_of(studies: Sequence[Study], names: Sequence[str]) -> dict[str, str]:
    """Study → its dataset's fingerprint; the dataset's name where a store has none, the study itself without either."""
    known = (study.known.get("dataset") or study.config.get("dataset", {}).get("name") for study in studies)
    return {name: str(data or name) for name, data in zip(names, known)}


def _on_the_same_data(data: dict[str, str]) -> str | None:
    """Say which studies aren't independent of each other."""
    groups: dict[str, list[str]] = {}
    for study, key in data.items():
        groups.setdefault(key, []).append(study)
    shared = [listed(members) for members in groups.values() if len(members) > 1]
    if not shared:
        return None
    return f"Studies on the same data aren't independent: {'; '.join(shared)} are averaged and count once."


def _ranks_sentence(found: CriticalDifference) -> str:
    """Name the best mean rank, shared where it is, and what Friedman's and Nemenyi's tests say."""
    best, datasets = float(found.ranks.iloc[0]), len(found.datasets)
    first = [str(loss) for loss, rank in found.ranks.items() if abs(rank - best) < 1e-9]
    over = f"{found.studies} studies"
    over += f" on {datasets} dataset{'s' * (datasets > 1)}" if datasets < found.studies else ""
    text = f"{listed(first)} {'has' if len(first) == 1 else 'share'} the best mean rank, {number(best, digits=2)}, of "
    text += f"{len(found.ranks)} losses over {over}"
    if found.p_value is not None:
        text += f" (Friedman's test that all rank alike: p = {p_value(found.p_value)})"
    if found.critical_difference is None:
        return text + ". One dataset is too few for a test."
    width = number(found.critical_difference, digits=2)
    return text + f". Mean ranks closer than {width} aren't told apart (Nemenyi)."
