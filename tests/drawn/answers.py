"""Answers and manifests drawn by code, for the tests of the error analysis and its report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn.hand_tests import PROPERTIES

from ensemble_minerals.data.fold_inputs import FoldInputs
from ensemble_minerals.data.manifest import Manifest
from ensemble_minerals.ensemble.combination import Combination
from ensemble_minerals.ensemble.oof import OutOfFold
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.costs import Cost
from ensemble_minerals.evaluation.photo_measures import PhotoMeasures
from ensemble_minerals.evaluation.splits import split_figures
from ensemble_minerals.reports.report_data import ReportData, ReportHeader
from ensemble_minerals.taxonomy import Taxonomy

HEADER = {
    "bundle": "drawn",
    "data": "photos",
    "data_digest": "d" * 32,
    "fit_digest": "d" * 32,
    "kind": "out_of_fold",
    "source": "the out-of-fold rows of the fit",
    "notes": ("A note.",),
    "failures": (),
    "demonstration": False,
    "files": 10,
    "rows": 10,
    "row_groups": 10,
    "classes": 2,
    "folds": 5,
    "members": 2,
    "seed": 0,
    "chosen": "uniform",
    "combined": "the plain mean of all members",
    "temperature": 1.5,
    "versions": {"numpy": "2"},
}


def distributions(y, n_classes, strength, rng):
    """Probabilities that lean to the true class by `strength` nats on average."""
    logits = rng.normal(size=(len(y), n_classes))
    logits[np.arange(len(y)), y] += strength
    proba = np.exp(logits)
    return proba / proba.sum(axis=1, keepdims=True)


def draw_answers(
    support, *, strength=2.0, members=3, tree=None, folds=5, seed=0, group_size=2, perfect=False
):
    """Answers for classes with `support` rows each; rows of a class stand in row groups of `group_size`."""
    rng = np.random.default_rng(seed)
    names = tuple(f"class {k}" for k in range(len(support)))
    y = np.repeat(np.arange(len(support)), support)
    group = np.arange(len(y)) // group_size + 1000 * y
    own = [
        np.eye(len(support))[y] if perfect else distributions(y, len(support), strength, rng)
        for _ in range(members)
    ]
    member_proba = np.array(own)
    proba = member_proba.mean(axis=0)
    before = proba**2 / (proba**2).sum(axis=1, keepdims=True)
    return Answers(
        taxonomy=Taxonomy.from_tree(
            names, {name: [names[k] for k in ks] for name, ks in (tree or {}).items()}
        ),
        out_of_fold=OutOfFold(
            FoldInputs(y, group, np.unique(group, return_inverse=True)[1] % folds, np.array(names)),
            [f"member {m}" for m in range(members)],
            member_proba=member_proba,
            proba=proba,
        ),
        uncalibrated=before,
        paths=tuple(f"{names[k]}/{row:04d}.jpg" for row, k in enumerate(y)),
    )


def changed(answers, *, y=None, proba=None, members=None):
    """Answers with other labels, other probabilities of the ensemble, or other names of the members."""
    old = answers.out_of_fold
    known = old.known if y is None else replace(old.known, y=y)
    names = old.members if members is None else members
    found = OutOfFold(
        known, names, member_proba=old.member_proba, proba=old.proba if proba is None else proba
    )
    return replace(answers, out_of_fold=found)


def manifest_of(answers, root=Path("photos"), **columns):
    """The manifest that goes with answers, one row each; columns can be replaced."""
    n = len(answers)
    filled = {
        "image_id": [f"id {row}" for row in range(n)],
        "path": list(answers.paths),
        "label": [answers.classes[k] for k in answers.y],
        "given_group": [""] * n,
        "split": [""] * n,
        "row_group": answers.groups,
        "fold": answers.folds,
        "status": ["ok"] * n,
        "reason": [""] * n,
        "width": np.full(n, 640),
        "height": np.full(n, 480),
        "format": ["JPEG"] * n,
        "mode": ["RGB"] * n,
        "pixel_hash": [f"pixels {row}" for row in range(n)],
        "phash": np.zeros(n),
        "phash_mirrored": np.zeros(n),
    }
    return Manifest(root=root, **{**filled, **columns})


def properties_of_some(classes):
    """Properties of the first two classes."""
    known = dict(zip(classes, (PROPERTIES.classes["mica"], PROPERTIES.classes["quartz"]), strict=False))
    return PROPERTIES.model_copy(update={"classes": known})


def report_data_of(answers, **changes):
    n, count = len(answers), len(answers.members)
    rng = np.random.default_rng(1)
    known = {
        "header": ReportHeader(
            **{
                **HEADER,
                "rows": n,
                "files": n,
                "classes": len(answers.classes),
                "members": count,
                "row_groups": answers.n_groups,
            }
        ),
        "answers": answers,
        "properties": properties_of_some(answers.classes),
        "manifest": manifest_of(answers),
        "measures": PhotoMeasures(
            {
                "brightness": rng.random(n),
                "resolution": rng.integers(100, 900, n).astype(float),
                "format": np.array(["JPEG"] * (n - 1) + ["PNG"]),
            },
            None,
        ),
        "splits": split_figures(answers, {}, None, "not asked for", None, seed=0),
        "combination": Combination("mean", np.full(count, 1 / count), np.zeros(len(answers.classes))),
        "temperature": 1.5,
        "costs": {name: Cost(fit_seconds=1.25, megabytes=3.5) for name in answers.members},
    }
    return ReportData(**{**known, **changes})


CASES = {
    "seven classes with groups": {
        "support": [20, 14, 25, 11, 17, 9, 30],
        "tree": {"mica": [0, 4], "green": [1, 2], "metal": [3, 5]},
    },
    "two classes": {"support": [30, 12], "strength": 1.0},
    "a class with one photo": {"support": [20, 20, 1]},
    "a class without photos": {"support": [20, 0, 15]},
    "perfect": {"support": [10, 10, 10], "perfect": True},
    "hardly better than chance": {"support": [12, 12, 12, 12], "strength": 0.1},
    "thirty classes": {"support": [8] * 30, "strength": 2.5, "members": 5},
    "one member": {"support": [15, 15], "members": 1},
    "one fold": {"support": [15, 15], "folds": 1},
}


@pytest.fixture(scope="session", params=list(CASES))
def case(request):
    """(name, answers, report data) of every kind of problem a report must come through."""
    answers = draw_answers(**CASES[request.param])
    return request.param, answers, report_data_of(answers)


@pytest.fixture(scope="session")
def drawn():
    """The functions that draw answers, manifests and report data."""

    class Drawn:
        answers = staticmethod(draw_answers)
        changed = staticmethod(changed)
        manifest = staticmethod(manifest_of)
        report_data = staticmethod(report_data_of)

    return Drawn
