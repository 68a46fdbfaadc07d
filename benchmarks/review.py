"""What a review is worth: planted label errors shown first, and new photos labelled in the order that it proposes.

Run: ``python benchmarks/review.py DATA --cache DIR --work DIR``. Some labels of DATA are planted wrong in a CSV. A
fit learns from it, and a reviewer who knows the truth decides about the first tenth of the photos that `review`
shows; a second fit learns from the corrections. Accuracy is that of out-of-fold answers by the true labels. The
photos are not touched. Then, of features alone: some photos are labelled, the next are chosen at random, by
uncertainty, or in the order of `review --unlabeled`; a logistic regression is scored on photos of other objects.
"""

from __future__ import annotations

import argparse
import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import photos
import timing
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.data.corrections import Corrections, Decision, append_decisions
from ensemble_minerals.data.decoding import photo_digest
from ensemble_minerals.data.folds import hold_out
from ensemble_minerals.prediction.teaching_order import teaching_order
from ensemble_minerals.system.cpu import cores
from ensemble_minerals.system.runtime import Runtime
from ensemble_minerals.workflows.fit import fit
from ensemble_minerals.workflows.review import prepare_review

SHOWN = 0.1
"""Share of the photos that the reviewer looks at."""


def plant(data: Path, table: Path, share: float, rng: np.random.Generator) -> tuple[dict[str, str], set[str]]:
    """Write a CSV in which some labels are wrong; the true labels by digest, and the digests with a wrong one.

    Copies of one content get one label.
    """
    files = timing.photos_of(data, None)
    truth: dict[str, str] = {}
    for file in files:
        truth.setdefault(photo_digest(file), file.parent.name)
    classes = sorted(set(truth.values()))
    digests = sorted(truth)
    wrong = set(rng.choice(digests, round(share * len(digests)), replace=False).tolist())
    given = {
        digest: str(rng.choice([name for name in classes if name != truth[digest]]))
        for digest in sorted(wrong)
    }
    with table.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "label"])
        for file in files:
            digest = photo_digest(file)
            writer.writerow([file.resolve(), given.get(digest, file.parent.name)])
    return truth, wrong


def answers(bundle: Path) -> dict[str, str]:
    """The out-of-fold answer to each photo, by digest."""
    saved = read_bundle(bundle)
    found, manifest = saved.out_of_fold, saved.manifest(saved.photo_root)
    labels = np.array(saved.classes)[found.proba.argmax(axis=1)]
    return dict(zip(manifest.image_id[found.row].tolist(), labels.tolist(), strict=True))


def planted(data: Path, work: Path, cache: Path, share: float, seed: int) -> dict[str, float]:
    """One run: what is shown first, and the accuracy by the true labels before and after."""
    work.mkdir(parents=True, exist_ok=True)
    table, file = work / f"planted-{seed}.csv", work / f"corrections-{seed}.csv"
    file.unlink(missing_ok=True)
    truth, wrong = plant(data, table, share, np.random.default_rng(seed))
    config = load_config(None)
    before = fit(table, work / f"before-{seed}", config, cache_dir=cache, overwrite=True).bundle
    review = prepare_review(before, file, Corrections(), Runtime(cores(), cache)).review
    assert review is not None
    shown: list[str] = []
    ranks: dict[str, int] = {}
    for item in review.items:
        for photo in item.photos:
            if photo not in ranks:
                ranks[photo] = len(ranks)
                shown.append(photo)
    first = shown[: round(SHOWN * len(truth))]
    now = datetime.now(UTC)
    decisions = []
    for photo in first:
        right = review.photos[photo].labels == (truth[photo],)
        decisions.append(Decision(photo, "keep" if right else "relabel", "truth", now, truth[photo]))
    append_decisions(file, decisions)
    after = fit(
        table, work / f"after-{seed}", config, cache_dir=cache, overwrite=True, corrections=[file]
    ).bundle
    by = [answers(before), answers(after)]
    both = sorted(by[0].keys() & by[1].keys())
    accuracy = [float(np.mean([one[digest] == truth[digest] for digest in both])) for one in by]
    found = {
        "planted": len(wrong),
        "shown": len(first),
        "found": len(wrong & set(first)) / len(wrong),
        "found_by_all": len(wrong & set(shown)) / len(wrong),
        "queue": len(shown),
        "before": accuracy[0],
        "after": accuracy[1],
        "photos": len(both),
    }
    timing.note(f"seed {seed}: {found}")
    return found


def choose(
    rule: str, proba: NDArray[np.float64], features: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.intp]:
    """The order in which photos are labelled."""
    if rule == "at random":
        return rng.permutation(len(proba))
    if rule == "least sure first":
        return np.argsort(proba.max(axis=1), kind="stable")
    return teaching_order(proba, features)


def taught(
    x: NDArray[np.float32],
    y: NDArray[np.intp],
    groups: NDArray[np.intp],
    rule: str,
    seed: int,
    steps: list[int],
) -> list[float]:
    """Accuracy on photos of other objects, after so many labels."""
    rng = np.random.default_rng(seed)
    aside = hold_out(y, groups, fraction=0.3, seed=seed)
    pool, test = np.flatnonzero(~aside), np.flatnonzero(aside)
    known = rng.permutation(pool)[: steps[0]]
    scores = []
    for number in [*steps[1:], None]:
        model = LogisticRegression(C=0.01, max_iter=300).fit(x[known], y[known])
        scores.append(float(np.mean(model.predict(x[test]) == y[test])))
        if number is None:
            break
        left = np.setdiff1d(pool, known)
        proba = np.zeros((len(left), y.max() + 1))
        proba[:, model.classes_] = model.predict_proba(x[left])
        order = choose(rule, proba, x[left], rng)
        known = np.concatenate([known, left[order[: number - len(known)]]])
    return scores


def order_figures(data: Path, cache: Path, work: Path, repeats: int) -> None:
    """Print how the accuracy grows with the labels, by rule."""
    config = load_config(None)
    prepared = photos.prepared(data, config, cache, work)
    inputs = prepared.dataset.inputs
    blocks = prepared.dataset.blocks(prepared.dataset.rows)
    scaled = StandardScaler().fit_transform(blocks[config.backbones[0].name])
    x = PCA(96, random_state=0).fit_transform(scaled).astype(np.float32)
    steps = [70, 105, 140, 210, 280]
    rules = ["at random", "least sure first", "review --unlabeled"]
    print(f"\n| labels | {' | '.join(rules)} |\n|---|{'---|' * len(rules)}")
    found = {
        rule: np.array([taught(x, inputs.y, inputs.groups, rule, seed, steps) for seed in range(repeats)])
        for rule in rules
    }
    for at, number in enumerate(steps):
        cells = [f"{found[rule][:, at].mean():.3f}" for rule in rules]
        print(f"| {number} | {' | '.join(cells)} |")
    gain = found[rules[2]][:, 1:].mean(axis=1) - found[rules[0]][:, 1:].mean(axis=1)
    error = gain.std(ddof=1) / np.sqrt(repeats)
    print(
        f"\nreview --unlabeled against at random, mean of the steps: {gain.mean():+.4f} (standard error {error:.4f})"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    runs = [
        planted(options.data, options.work, options.cache, options.share, seed)
        for seed in range(options.runs)
    ]
    if runs:
        print("| run | planted | photos shown | of the planted among them | accuracy before | after |")
        print("|---|---|---|---|---|---|")
        for seed, one in enumerate(runs):
            print(
                f"| {seed} | {one['planted']} | {one['shown']} of {one['queue']} | {one['found']:.3f} | "
                f"{one['before']:.3f} | {one['after']:.3f} |"
            )
    if options.repeats:
        order_figures(options.data, options.cache, options.work, options.repeats)


if __name__ == "__main__":
    main()
