"""The registry: declarations, errors, and plug-ins through the entry-point group."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from mlcompare.errors import InvalidValueError, UnknownNameError
from mlcompare.losses import LossEntry, Term
from mlcompare.registry import (
    FIRST_COMPARISON,
    IDEAS,
    Hyperparameter,
    Option,
    create_loss,
    get_spec,
    list_losses,
    register_loss,
)

NATIVE = list_losses(provider="native")
NAMES = [
    "softmax",
    "modified_softmax",
    "normface",
    "l2_softmax",
    "l_softmax",
    "sphereface",
    "sphereface_fnorm",
    "sphereface_r",
    "sphereface2",
    "cosface",
    "arcface",
    "combined_margin",
    "center",
    "ring",
    "focal",
    "heated_up_softmax",
    "up_softmax",
    "ccl",
    "deepvisage",
    "noise_resistant_softmax",
    "subcenter_arcface",
    "subcenter_arcface_drop",
    "adacos",
    "curricularface",
    "magface",
    "adaface",
    "ldam",
    "logit_adjusted_softmax",
    "class_balanced_softmax",
    "generalised_cross_entropy",
    "sface",
    "elastic_arcface",
    "elastic_cosface",
    "uniface",
    "dynamic_arcface",
    "p2sgrad",
    "vpl",
    "qcface",
    "kappaface",
    "unitsface",
    "center_term",
    "ring_term",
    "up_term",
    "dispersion_term",
    "contrastive",
    "deepid2",
    "triplet",
    "triplet_semihard",
    "trihard",
    "lifted_structure",
    "generalized_lifted_structure",
    "margin_based",
    "n_pair",
    "multi_similarity",
    "circle",
    "proxy_nca",
    "proxy_anchor",
    "soft_triple",
    "nt_xent",
    "supcon",
    "sigmoid_pair",
    "decoupled_contrastive",
    "hyperbolic",
    "smooth_ap",
    "recall_at_k",
    "proxy_nca_pp",
    "ranked_list",
    "tuplet_margin",
    "threshold_consistent_term",
    "roadmap",
    "selective_contrastive_triplet",
    "anti_collapse",
    "hierarchical_supcon",
    "hierarchical_triplet",
    "multi_supcon",
]
METRIC = NAMES[NAMES.index("contrastive") :]


def test_every_name_of_the_specification_is_registered():
    assert sorted(NAMES) == [spec.name for spec in NATIVE]
    assert sorted(METRIC) == [spec.name for spec in list_losses(family="metric", provider="native")]
    assert get_spec("am_softmax") is get_spec("cosface")
    assert get_spec("balanced_softmax") is get_spec("logit_adjusted_softmax")


def test_ten_losses_for_a_first_comparison_are_of_both_families():
    specs = [get_spec(name) for name in FIRST_COMPARISON]
    assert len({spec.name for spec in specs}) == 10
    assert [spec.family for spec in specs].count("metric") == 5


def test_year_and_venue_are_those_of_the_reference():
    facts = {spec.name: (spec.year, spec.venue) for spec in NATIVE}
    assert facts["softmax"][0] == 1990
    assert facts["supcon"] == (2020, "NeurIPS")
    assert facts["logit_adjusted_softmax"] == (2021, "ICLR")
    assert facts["sface"] == (2021, "IEEE Transactions on Image Processing")
    assert facts["qcface"] == (2025, "arXiv")
    assert replace(get_spec("qcface"), reference="arXiv:2007.07314", bibtex="").year is None


@pytest.mark.parametrize("spec", NATIVE, ids=lambda spec: spec.name)
def test_every_record_is_complete(spec):
    assert spec.group in IDEAS
    assert 1950 < spec.year < 2100
    assert spec.venue
    assert spec.summary
    assert spec.reference
    assert spec.bibtex.startswith("@")
    assert spec.family in ("metric", "margin")
    if spec.group != "sum":
        assert "``" in spec.doc, "the formula"
    for name, h in spec.hyperparameters.items():
        h.check(name, h.default)
        if h.searched:
            assert h.check(name, h.low) <= h.default <= h.check(name, h.high), name
    for published in spec.published:
        for name, value in published.items():
            spec.hyperparameters[name].check(name, value)


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (lambda: Hyperparameter(1.0, low=2.0, high=1.0), "`low < high`"),
        (lambda: Hyperparameter(1.0, low=2.0), "come together"),
        (lambda: Hyperparameter(1.0, low=0.0, high=1.0, log=True), "`low > 0`"),
        (lambda: Hyperparameter(-1.0, positive=True), "`default > 0`"),
        (lambda: create_loss("triplet", margin="wide"), "triplet: `margin` must be a number"),
        (lambda: create_loss("triplet", margin=True), "must be a number"),
        (lambda: create_loss("triplet", margin=float("inf")), "must be finite"),
        (lambda: create_loss("l_softmax", num_classes=2, embedding_dim=2, margin=1.5), "must be a whole number"),
        (
            lambda: create_loss("cosface", num_classes=2, embedding_dim=2, scale=-1),
            "`scale > 0` must hold, got scale=-1",
        ),
        (lambda: create_loss("triplet", sampling="easy"), "`sampling` must be one of all, random"),
        (lambda: create_loss("subcenter_arcface", num_classes=2, embedding_dim=2, subcenters=0), "1 or more"),
        (lambda: create_loss("cosface", embedding_dim=2), "`num_classes` is needed"),
        (lambda: create_loss("cosface", num_classes=0, embedding_dim=2), "`num_classes` must be a whole number"),
        (lambda: create_loss("up_softmax", num_classes=3, embedding_dim=2, class_counts=[1, 2]), "`class_counts`"),
        (lambda: create_loss("margin_based", per_class=True), "`per_class` needs `num_classes`"),
        (lambda: list_losses(family="margins"), "`family` must be metric or margin"),
        (lambda: list_losses(provider="here"), "`provider` must be"),
        (lambda: register_loss("cosface", family="margin", reference="")(object), "registered once"),
        (lambda: register_loss("x", family="other", reference="")(object), "`family` must be"),
    ],
)
def test_bad_values(build, rule):
    with pytest.raises(InvalidValueError) as caught:
        build()
    assert rule in str(caught.value)


def test_unknown_names_suggest():
    with pytest.raises(UnknownNameError, match="did you mean cosface"):
        create_loss("cosfce")
    with pytest.raises(UnknownNameError, match="cosface: unknown hyperparameter 'margn'; did you mean margin"):
        create_loss("cosface", num_classes=2, embedding_dim=2, margn=0.1)
    with pytest.raises(UnknownNameError):
        get_spec(["cosface"])


def test_options():
    assert Option(3).check("K", 4) == 4
    assert Option(None).check("open", "anything") == "anything"
    with pytest.raises(InvalidValueError):
        Option(True, choices=(True, False)).check("normalize", 1)


def test_a_sum_prefixes_what_would_collide():
    entry = LossEntry("x", "sum", (Term("arcface"), Term("triplet"), Term("ring_term")))
    assert {"arcface_margin", "triplet_margin", "scale", "triplet_weight", "ring_term_weight"} <= set(entry.layout)
    assert entry.family == "margin"
    [(share, loss)] = entry.build({"arcface_margin": 0.3, "ring_term_weight": 0.1}, num_classes=3, embedding_dim=2)
    assert share == 1.0
    assert loss.terms[0].margin.item() == 0.3
    assert loss.terms[2].weight.item() == 0.1


def test_up_term_alone_says_what_it_needs():
    with pytest.raises(InvalidValueError, match="needs the class weights of a head"):
        create_loss("up_term", num_classes=2)(torch.eye(2), torch.arange(2))


PLUGIN = """
    from mlcompare import Hyperparameter, register_loss
    from mlcompare.losses import Loss
    from mlcompare.geometry import euclidean_distances, masked_mean, normalize, positive_mask


    @register_loss("pull", family="metric", reference="an example")
    class Pull(Loss):
        "Pull: the mean distance of positive pairs."
        weight: float = Hyperparameter(1.0, low=0.1, high=10.0, log=True, positive=True)

        def compute(self, embeddings, labels, noise):
            distances = euclidean_distances(normalize(embeddings), normalized=True)
            return self.weight * masked_mean(distances, positive_mask(labels))
"""
TEST = """
    from mlcompare.testing import LossTestCase


    class TestPull(LossTestCase):
        loss_name = "pull"
"""


def install(folder, name, module, code):
    """Write a package that is installed as far as importlib.metadata can tell."""
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mlcompare.losses]\n{name} = {module}\n")


def run(folder, *arguments):
    root = __import__("mlcompare").__path__[0].rsplit("mlcompare", 1)[0]
    code = f"import sys; sys.path[:0] = [{str(folder)!r}, {root!r}]; "
    return subprocess.run(
        [sys.executable, "-c", code + arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_plugin_of_fifteen_lines_registers_and_passes_conformance(tmp_path):
    assert len([line for line in PLUGIN.splitlines() if line.strip()]) <= 15
    install(tmp_path, "pull", "pull_loss", PLUGIN)
    (tmp_path / "test_pull.py").write_text(textwrap.dedent(TEST))
    done = run(
        tmp_path,
        "from mlcompare.registry import get_spec; assert get_spec('pull').provider == 'plugin'; "
        "import pytest; sys.exit(pytest.main(sys.argv[1:]))",
        "-q",
        "-p",
        "no:cacheprovider",
        str(tmp_path / "test_pull.py"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_a_broken_plugin_is_listed_and_raises_only_when_used(tmp_path):
    install(tmp_path, "wreck", "wreck_loss", "raise RuntimeError('no such accelerator')")
    done = run(
        tmp_path,
        "from mlcompare.registry import *; [s] = list_losses(provider='plugin'); print(s.name, '|', s.broken); "
        "create_loss('softmax', num_classes=2, embedding_dim=2); print('others work'); create_loss('wreck')",
    )
    assert "wreck | RuntimeError: no such accelerator" in done.stdout
    assert "others work" in done.stdout
    assert "wreck: this loss can't be used: RuntimeError: no such accelerator; fix" in done.stderr
