from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss

from ensemble_minerals.data.oversampling import OverSampler
from ensemble_minerals.data.subproblem import Subproblem
from ensemble_minerals.errors import ConfigError, FitError
from ensemble_minerals.networks.models.state import NetworkState
from ensemble_minerals.networks.models.transforms import TrainTransform
from ensemble_minerals.networks.training import callbacks, skorch_net
from ensemble_minerals.networks.training.epoch_log import TrainingLog
from ensemble_minerals.networks.training.estimator import FineTunedNetwork

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = np.arange(36)
Y = np.array(["red", "green", "blue"])[ROWS % 3]
GROUPS = ROWS // 3 // 2  # pairs of neighbors of each color, all three colors together
PROBE = {"kind": "layers", "init": "probe", "dropout": 0.0}
PATIENT = {"train": "head", "lr": 1e-12, "epochs": 9, "patience": 2}


def fitted(config, photos, rows=ROWS, labels=Y, groups=None, **options):
    return FineTunedNetwork(config, photos, **options).fit(rows, labels, groups)


def same(first: NetworkState, second: NetworkState) -> bool:
    return (
        first.tensors.keys() == second.tensors.keys()
        and all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
        and first.metadata == second.metadata
    )


@pytest.fixture(scope="module")
def probed(photos, network_config):
    """Fitted on the first 27 rows; the head starts from logistic regression and hardly moves."""
    config = network_config({"train": "head", "lr": 1e-9}, head=PROBE, augment={"horizontal_flip": True})
    return fitted(config, photos, ROWS[:27], Y[:27])


def test_classes_are_sorted_and_answers_in_their_order(probed):
    assert probed.classes_.tolist() == ["blue", "green", "red"]
    assert probed.n_features_in_ == 1
    proba = probed.predict_proba(ROWS[27:, None])
    np.testing.assert_allclose(proba.sum(1), 1)
    np.testing.assert_allclose(proba, np.exp(log_softmax(probed.subproblem_logits(ROWS[27:]), axis=1)))
    assert np.mean(probed.predict(ROWS[27:]) == Y[27:]) > 0.6
    assert probed.predict(ROWS[27:]).tolist() == probed.classes_[proba.argmax(1)].tolist()


def test_two_classes_are_one_logit(photos, network_config):
    rows = ROWS[Y != "blue"]
    config = network_config({"train": "head", "lr": 1e-9}, head=PROBE)
    network = fitted(config, photos, rows, Y[rows])
    logits, proba = network.subproblem_logits(rows), network.predict_proba(rows)
    assert logits.shape == (len(rows), 1)
    np.testing.assert_allclose(np.log(proba[:, 1] / proba[:, 0]), logits[:, 0], atol=1e-6)
    assert np.mean(network.predict(rows) == Y[rows]) > 0.8


def test_it_is_a_scikit_learn_estimator(probed, photos, network_config):
    fresh = clone(probed)
    assert fresh.get_params().keys() == {
        "network", "images", "sampler", "prior_correction", "random_state", "n_threads", "device", "work",
        "name",
    }  # fmt: skip
    assert not hasattr(fresh, "state_")
    with pytest.raises(NotFittedError):
        fresh.predict(ROWS)
    assert fresh.set_params(random_state=5).random_state == 5
    copied = pickle.loads(pickle.dumps(probed))
    np.testing.assert_array_equal(copied.subproblem_logits(ROWS[:3]), probed.subproblem_logits(ROWS[:3]))
    joint = FineTunedNetwork(network_config({"train": "head"}), photos)
    joint.fit_subproblems(ROWS, [Subproblem("red", ROWS, ROWS % 2, 2)])
    with pytest.raises(NotFittedError):
        joint.predict(ROWS)


@pytest.mark.parametrize(
    ("X", "y", "groups", "words"),
    [
        (np.zeros((36, 2), int), Y, None, r"expected \(n,\) or \(n, 1\)"),
        (ROWS + 0.5, Y, None, "integers from 0 to 35"),
        (ROWS + 1, Y, None, "integers from 0 to 35"),
        (ROWS[:0], Y[:0], None, "expected"),
        (ROWS, Y[:-1], None, r"y has shape \(35,\)"),
        (ROWS, np.full(36, "red"), None, "at least 2 classes"),
        (ROWS, Y, GROUPS[:-1], r"groups has shape \(35,\)"),
    ],
)
def test_unusable_rows_are_said(photos, network_config, X, y, groups, words):
    with pytest.raises(ValueError, match=words):
        FineTunedNetwork(network_config(), photos).fit(X, y, groups)


def test_samplers_between_photos_are_refused(photos, network_config):
    with pytest.raises(ValueError, match="choose random or none"):
        fitted(network_config(), photos, sampler=OverSampler("smote"))


def test_a_fit_reads_its_rows_alone_and_never_trains_on_validation_rows(photos, network_config, monkeypatch):
    trained = []
    call = TrainTransform.__call__

    def spy(self, image, *, epoch, row, draw=0):
        trained.append(row)
        return call(self, image, epoch=epoch, row=row, draw=draw)

    monkeypatch.setattr(TrainTransform, "__call__", spy)
    photos.rows_read = ()
    rows, groups = ROWS[6:33], GROUPS[6:33]
    config = network_config(
        {"epochs": 2, "schedule": "plateau", "patience": 1}, {}, augment={"rotation": 20.0}, head=PROBE
    )
    network = fitted(config, photos, rows, Y[rows], groups, sampler=OverSampler("random"))
    validation = set(rows[network.validation_rows_])
    assert validation
    assert set(photos.rows_read) == set(rows)
    assert set(trained) == set(rows) - validation
    assert not set(GROUPS[list(validation)]) & set(GROUPS[trained])
    trained.clear()
    photos.rows_read = ()
    network.predict(ROWS[:4])
    assert photos.rows_read == (0, 1, 2, 3)
    assert trained == []


def test_one_seed_gives_one_result_and_leaves_no_trace(photos, network_config):
    config = network_config(mixup=0.3, augment={"crop": (0.5, 1.0)}, ema=0.5)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    first = fitted(config, photos, n_threads=1)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    torch.manual_seed(99)
    assert same(fitted(config, photos).state_, first.state_)
    assert not same(fitted(config, photos, random_state=1).state_, first.state_)


RECIPES = {
    "averages": (
        [{"train": "head", "epochs": 2}, {"epochs": 3, "schedule": "cosine", "lr": 3e-3}],
        {"ema": 0.7, "mixup": 0.2, "cutmix": 0.2, "average_last": 2},
    ),
    "plateau": (
        [
            {"epochs": 3, "schedule": "plateau", "patience": 2, "optimizer": "sgd", "momentum": 0.9, "lr": 0.3,
             "lr_decay": 0.01},
            {"train": "last:1", "epochs": 2, "optimizer": "rmsprop", "monitor": "accuracy"},
        ],
        {"accumulate": 2, "clip": 1.0, "augment": {"horizontal_flip": True}},
    ),
    "patience": ([PATIENT, {"epochs": 3, "lr": 0.1}], {}),
    "prefix": (
        [{"train": "last:1", "epochs": 4, "schedule": "one_cycle", "monitor": "macro_f1"}],
        {"prefix_views": 2, "head": PROBE, "augment": {"horizontal_flip": True}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_interrupted_fit_goes_on_to_the_same_weights(
    photos, network_config, tmp_path, monkeypatch, recipe
):
    phases, settings = RECIPES[recipe]
    config = network_config(*phases, **settings)
    whole = fitted(config, photos, work=tmp_path / "whole")
    n_epochs = len(whole.history_)
    step = skorch_net.FineTuningNet.train_step

    def killing(epoch):
        def killed(self, batch, **params):
            if self.epoch == epoch and self.n_batches_done == 1:
                raise RuntimeError("killed")
            return step(self, batch, **params)

        return killed

    for epoch in range(2, n_epochs + 1):
        monkeypatch.setattr(skorch_net.FineTuningNet, "train_step", killing(epoch))
        with pytest.raises(RuntimeError, match="killed"):
            fitted(config, photos, work=tmp_path / "parts")
    monkeypatch.undo()
    parts = fitted(config, photos, work=tmp_path / "parts")
    assert same(parts.state_, whole.state_)
    seconds = {"seconds": 0}
    assert [each | seconds for each in parts.history_] == [each | seconds for each in whole.history_]
    best = [NetworkState.load(tmp_path / where / "best_loss.safetensors") for where in ("parts", "whole")]
    assert same(*best)


def test_a_finished_fit_is_not_trained_again_but_another_one_is(
    photos, network_config, tmp_path, monkeypatch
):
    config = network_config({"epochs": 2})
    first = fitted(config, photos, work=tmp_path)
    monkeypatch.setattr(skorch_net.FineTuningNet, "train_step", None)
    assert same(fitted(config, photos, work=tmp_path).state_, first.state_)
    monkeypatch.undo()
    other = fitted(config, photos, work=tmp_path, random_state=1)
    assert same(other.state_, fitted(config, photos, random_state=1).state_)


def test_the_best_epoch_is_what_answers(photos, network_config, tmp_path):
    for phase, settings in (
        ({"monitor": "loss"}, {}),
        ({"monitor": "accuracy"}, {"ema": 0.8}),
        ({"keep": "last"}, {}),
    ):
        config = network_config({"epochs": 4, "lr": 0.02, **phase}, head=PROBE, **settings)
        work = tmp_path / str(phase)
        network = fitted(config, photos, work=work)
        rows = network.validation_rows_
        losses = [record["validation_loss"] for record in network.history_]
        scores = [record["validation_accuracy"] for record in network.history_]
        chosen = {"loss": np.argmin(losses), "accuracy": np.argmax(scores)}.get(phase.get("monitor"), 3)
        codes = np.searchsorted(network.classes_, Y[rows])
        assert log_loss(codes, network.predict_proba(rows)) == pytest.approx(losses[chosen], rel=1e-4)
        best = NetworkState.load(work / "best_loss.safetensors")
        network.state_ = best
        assert log_loss(codes, network.predict_proba(rows)) == pytest.approx(min(losses), rel=1e-4)
        network.state_ = NetworkState.load(work / "best_score.safetensors")
        assert np.mean(network.predict(rows) == Y[rows]) == pytest.approx(max(scores))


def test_patience_ends_a_phase_and_ctrl_c_ends_the_fit(photos, network_config, monkeypatch):
    network = fitted(network_config(PATIENT, PATIENT, model="test_vit", size=160), photos)
    # Weights that do not move are no better in any epoch after the first.
    assert [record["phase"] for record in network.history_] == [1, 1, 1, 2, 2, 2]
    assert [record["epoch"] for record in network.history_] == [1, 2, 3, 4, 5, 6]

    def interrupted(self, batch, **params):
        raise KeyboardInterrupt

    monkeypatch.setattr(skorch_net.FineTuningNet, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted(network_config(), photos)


@pytest.mark.parametrize("fraction", [0.0, 0.2])
def test_without_an_inner_part_all_epochs_are_run(photos, network_config, fraction):
    config = network_config(
        {**PATIENT, "epochs": 4}, {"schedule": "plateau"}, validation_fraction=fraction, ema=0.5
    )
    network = fitted(config, photos, groups=ROWS % 3)
    assert not network.validation_rows_.size
    assert len(network.history_) == 5
    assert {record["validation_loss"] for record in network.history_} == {None}
    assert "no inner validation part" in network.notes_[0]


def test_an_inner_part_that_nobody_asked_for_is_not_missed(photos, network_config):
    config = network_config({"keep": "last", "epochs": 1}, validation_fraction=0.0)
    assert fitted(config, photos).notes_ == ()


@pytest.mark.parametrize("settings", [{}, {"weights": "random", "clip": None, "ema": 0.9}])
def test_divergence_is_an_error_that_names_phase_and_rate(photos, network_config, settings):
    config = network_config({}, {"lr": 1e6, "epochs": 3}, **settings)
    with pytest.raises(FitError, match=r"'lite'.* phase 2, epoch 2: the loss .*lr=1e\+06; lower lr"):
        fitted(config, photos, name="lite")


def test_a_loss_that_is_no_number_is_an_error_at_once(photos, network_config, monkeypatch):
    monkeypatch.setattr(
        skorch_net.FineTuningNet, "infer", lambda self, x, **_: self._logits(self.module_, x) * float("nan")
    )
    with pytest.raises(FitError, match=r"phase 1, epoch 1: the loss is nan with lr=0\.001"):
        fitted(network_config(), photos)


def subproblems():
    """Each color against the rest, and a subproblem between two of them."""
    ones = [Subproblem(str(k), ROWS, (k == ROWS % 3).astype(np.intp), 2) for k in range(3)]
    two = np.flatnonzero(ROWS % 3 > 0)
    return [*ones, Subproblem("all", ROWS, ROWS % 3, 3), Subproblem("two", two, two % 3 - 1, 2)]


@pytest.mark.parametrize("head", [{"kind": "own"}, PROBE])
def test_joint_specialists_answer_as_separate_ones_do(photos, network_config, head):
    config = network_config({"train": "head", "epochs": 2, "lr": 1e-6}, head=head, batch_size=12)
    sampler = OverSampler("random")
    joint = FineTunedNetwork(config, photos, sampler=sampler).fit_subproblems(ROWS, subproblems(), GROUPS)
    assert joint.subproblem_logits(ROWS).shape == (36, 3 + 3 + 1)
    assert joint.state_.metadata["decisions"] == [["0", 2], ["1", 2], ["2", 2], ["all", 3], ["two", 2]]
    separate = [
        FineTunedNetwork(config, photos, sampler=sampler).fit_subproblems(ROWS, [each], GROUPS)
        for each in subproblems()
    ]
    apart = np.concatenate([each.subproblem_logits(ROWS) for each in separate], axis=1)
    together = joint.subproblem_logits(ROWS)
    assert apart.shape == together.shape
    if head is PROBE:
        for logits in (apart, together):
            assert np.mean((logits[:, :3] > 0) == (ROWS[:, None] % 3 == np.arange(3))) > 0.75
            assert np.mean(logits[:, 3:6].argmax(1) == ROWS % 3) > 0.75
            two = ROWS % 3 > 0
            assert np.mean((logits[two, 6] > 0) == (ROWS[two] % 3 == 2)) > 0.75
        assert min(np.corrcoef(together[:, k], apart[:, k])[0, 1] for k in range(7)) > 0.9


def test_rows_may_stand_anywhere_in_the_table(photos, network_config):
    config = network_config({"train": "head", "lr": 1e-9}, head=PROBE)
    rows = ROWS[::-1][:20]
    part = Subproblem("part", np.arange(4, 20), (rows[4:] % 3 == 0).astype(np.intp), 2)
    network = FineTunedNetwork(config, photos).fit_subproblems(rows, [part])
    assert np.mean((network.subproblem_logits(rows)[:, 0] > 0) == (rows % 3 == 0)) > 0.8
    assert network.validation_rows_.min() >= 4


def test_priors_are_taken_back(photos, network_config):
    rows = np.concatenate([ROWS[Y == "red"], ROWS[Y == "blue"][:4]])
    settings = {"head": PROBE, "validation_fraction": 0.0}
    for loss, sampler, expected in (
        ({"kind": "cross_entropy"}, None, 0.0),
        ({"kind": "cross_entropy"}, OverSampler("random"), np.log(12 / 4)),
        ({"kind": "cross_entropy", "class_weight": "balanced"}, None, np.log(12 / 4)),
        ({"kind": "logit_adjusted", "tau": 1.0}, None, np.log(12 / 4)),
        ({"kind": "logit_adjusted", "tau": 1.0}, OverSampler("random"), np.log(12 / 4)),
    ):
        config = network_config({"train": "head", "lr": 1e-9}, loss=loss, **settings)
        corrected = fitted(config, photos, rows, Y[rows], sampler=sampler)
        raw = fitted(config, photos, rows, Y[rows], sampler=sampler, prior_correction=False)
        assert corrected.state_.metadata["shift"] == pytest.approx([expected], abs=1e-6)
        assert raw.state_.metadata["shift"] == [0.0]
        np.testing.assert_allclose(
            corrected.subproblem_logits(rows), raw.subproblem_logits(rows) + expected, atol=1e-5
        )


def test_summed_gradients_are_those_of_a_larger_batch(photos, network_config):
    common = {"model": "test_vit", "size": 160, "validation_fraction": 0.0, "head": {"kind": "own"}}
    phase = {"optimizer": "sgd", "lr": 0.1, "epochs": 2, "schedule": "cosine"}
    large = fitted(network_config(phase, batch_size=18, **common), photos)
    small = fitted(network_config(phase, batch_size=9, accumulate=2, **common), photos)
    assert large.state_.tensors.keys() == small.state_.tensors.keys()
    for name, tensor in large.state_.tensors.items():
        torch.testing.assert_close(small.state_.tensors[name], tensor, atol=1e-5, rtol=1e-3)


def test_gradients_are_clipped(photos, network_config):
    settings = {"validation_fraction": 0.0, "batch_size": 12}
    phase = {"train": "head", "optimizer": "sgd", "lr": 1.0}
    free = fitted(network_config({**phase, "lr": 1e-12}, **settings), photos).state_.tensors
    clipped = fitted(network_config(phase, clip=1e-3, **settings), photos).state_.tensors
    moved = sum(float((free[name] - clipped[name]).square().sum()) for name in free) ** 0.5
    assert 0 < moved <= 3 * 1.001e-3


def test_the_last_epochs_are_averaged(photos, network_config, monkeypatch):
    seen = []
    on_epoch_end = callbacks.LastEpochs.on_epoch_end

    def spy(self, net, **kwargs):
        on_epoch_end(self, net, **kwargs)
        seen.append(self.tensors[-1])

    monkeypatch.setattr(callbacks.LastEpochs, "on_epoch_end", spy)
    network = fitted(network_config({"epochs": 4, "lr": 0.01}, average_last=3), photos)
    assert len(seen) == 4
    for name, tensor in network.state_.tensors.items():
        torch.testing.assert_close(tensor, sum(each[name] for each in seen[1:]) / 3, atol=1e-5, rtol=1e-4)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            network.state_.tensors["heads.0.1.weight"], seen[-1]["heads.0.1.weight"], atol=1e-5, rtol=1e-4
        )


def test_a_moving_average_answers(photos, network_config):
    phase = {"epochs": 2, "optimizer": "sgd", "lr": 0.5, "train": "head", "keep": "last"}
    settings = {"validation_fraction": 0.0, "batch_size": 36, "head": {**PROBE, "init": "random"}}
    start = fitted(network_config({**phase, "lr": 1e-12}, **settings), photos).state_.tensors
    plain = [
        fitted(network_config({**phase, "epochs": n}, **settings), photos).state_.tensors for n in (1, 2)
    ]
    averaged = fitted(network_config(phase, ema=0.75, **settings), photos).state_.tensors
    for name in start:
        first = 0.75 * start[name] + 0.25 * plain[0][name]
        torch.testing.assert_close(averaged[name], 0.75 * first + 0.25 * plain[1][name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["avg", "taps"])
@pytest.mark.parametrize("train", ["head", "last:2"])
def test_stored_views_change_nothing_but_the_time(photos, network_config, train, pooling):
    phase = {"train": train, "epochs": 2}
    head = {"kind": "layers", "pooling": pooling}
    plain = fitted(network_config(phase, head=head), photos)
    stored = fitted(network_config(phase, head=head, prefix_views=1), photos)
    np.testing.assert_allclose(stored.subproblem_logits(ROWS), plain.subproblem_logits(ROWS), atol=5e-3)
    assert stored.state_.tensors.keys() == plain.state_.tensors.keys()


def test_a_network_that_cannot_be_cut_is_only_refused_where_views_are_kept(photos, network_config):
    changes = {"model": "test_vit", "size": 160, "head": {"kind": "layers", "pooling": "taps"}}
    fitted(network_config({"train": "last:1"}, **changes), photos)
    with pytest.raises(ConfigError, match="set prefix_views to 0"):
        fitted(network_config({"train": "last:1"}, **changes, prefix_views=1), photos)


@pytest.mark.parametrize("pooling", ["avg", "taps"])
def test_kept_vectors_cannot_be_cut_into_rectangles(photos, network_config, pooling):
    phase = {"train": "last:1" if pooling == "taps" else "head", "epochs": 1}
    head = {"kind": "layers", "pooling": pooling}
    with pytest.raises(ConfigError, match="set cutmix or prefix_views to 0"):
        fitted(network_config(phase, head=head, prefix_views=1, cutmix=1.0), photos)
    maps = network_config({"train": "last:1", "epochs": 1}, prefix_views=1, cutmix=1.0, mixup=0.5)
    assert len(fitted(maps, photos).history_) == 1


def test_workers_prepare_the_same_batches(photos, network_config):
    config = network_config({"train": "head"}, augment={"crop": (0.4, 1.0)})
    one = fitted(config, photos)
    two = fitted(config, photos, n_threads=2)
    assert one.history_[0]["train_loss"] == pytest.approx(two.history_[0]["train_loss"], rel=1e-4)


def test_every_epoch_is_logged(photos, network_config, tmp_path):
    pytest.importorskip("tensorboard")
    config = network_config({"train": "head", "epochs": 2, "lr": 0.01, "schedule": "cosine"}, {"lr": 0.002})
    config = config.model_copy(update={"tensorboard": str(tmp_path / "events")})
    network = fitted(config, photos, work=tmp_path / "work" / "0")
    assert json.loads((tmp_path / "work" / "0" / "epochs.json").read_text()) == network.history_
    assert [(record["phase"], record["epoch"]) for record in network.history_] == [(1, 1), (1, 2), (2, 3)]
    assert network.history_[2]["lr"] == 0.002
    assert all(value is not None for record in network.history_ for value in record.values())
    assert all(record["seconds"] > 0 for record in network.history_)
    assert list((tmp_path / "events" / "work" / "0").iterdir())
    assert isinstance(network.history_, list)
    assert TrainingLog().records == []


def test_soft_targets_are_learned_in_place_of_outcomes(photos, network_config):
    soft = np.full((36, 2), 0.5)
    config = network_config({"lr": 0.05, "epochs": 8, "train": "head"}, validation_fraction=0.0)
    even = Subproblem("even", ROWS, ROWS % 2, 2, soft)
    network = FineTunedNetwork(config, photos).fit_subproblems(ROWS, [even])
    assert np.abs(network.subproblem_logits(ROWS)).max() < 1.0
    assert network.history_[-1]["train_loss"] >= np.log(2) - 1e-6


def test_certain_soft_targets_teach_what_labels_teach(photos, network_config):
    config = network_config({"keep": "last"}, validation_fraction=0.0)
    hard = Subproblem("colors", ROWS, ROWS % 3, 3)
    certain = dataclasses.replace(hard, soft_targets=np.eye(3)[hard.targets])
    even = dataclasses.replace(hard, soft_targets=np.full((36, 3), 1 / 3))
    states = [
        FineTunedNetwork(config, photos).fit_subproblems(ROWS, [subproblem]).state_
        for subproblem in (hard, certain, even)
    ]
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


def test_an_interrupted_training_with_other_soft_targets_is_another_one(photos, network_config, tmp_path):
    config = network_config({"keep": "last"}, validation_fraction=0.0)
    hard = Subproblem("colors", ROWS, ROWS % 3, 3)
    soft = dataclasses.replace(hard, soft_targets=np.full((36, 3), 1 / 3))
    FineTunedNetwork(config, photos, work=tmp_path).fit_subproblems(ROWS, [hard])
    resumed = FineTunedNetwork(config, photos, work=tmp_path).fit_subproblems(ROWS, [soft])
    alone = FineTunedNetwork(config, photos).fit_subproblems(ROWS, [soft])
    assert same(resumed.state_, alone.state_)
