"""Every published system trains end to end on a processor, and its bundle predicts: two epochs, small pictures."""

from __future__ import annotations

import pytest

from ensemble_minerals.bundle.bundle import read_bundle
from ensemble_minerals.config.files import RECIPES
from ensemble_minerals.config.loading import load_config
from ensemble_minerals.data.synthetic.photo_set import draw_demonstration_set
from ensemble_minerals.prediction.predictor import load
from ensemble_minerals.workflows.fit import fit

CLASSES = ["biotite", "malachite", "quartz"]
# What these would add is time: EfficientNetV2-L is B0's recipe, and the frozen VGG16 the first phase of the other.
TRAINED = [name for name in RECIPES if name not in ("efficientnetv2-l-two-phase", "vgg16-frozen")]
SIZES = {"cnn-model-1": "[100, 80]", "cnn-model-2": "80", "cnn-model-2-1": "80"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_demonstration_set(tmp_path_factory.mktemp("drawn") / "photos", scale=0.2, side=64).root


@pytest.mark.parametrize("name", TRAINED)
def test_a_recipe_trains_and_its_bundle_predicts(name, photos, tmp_path):
    recipe = load_config(name)
    n_phases = len(recipe.networks[0].phases)
    settings = [
        f"classes={CLASSES}",
        "duplicates.near=false",
        "networks.0.weights=random",
        f"networks.0.size={SIZES.get(name, '64')}",
        "networks.0.batch_size=8",
        *(f"networks.0.phases.{phase}.epochs=2" for phase in range(n_phases)),
        *(["networks.0.prefix_views=2"] if recipe.networks[0].prefix_views else []),
        *(["folds.n_splits=2"] if recipe.folds.n_splits > 2 else []),
    ]
    result = fit(photos, tmp_path / "b", load_config(name, settings), n_jobs=1)
    bundle = read_bundle(result.bundle)
    (member,) = bundle.logs
    assert [record.epoch for record in bundle.logs[member][0]] == list(range(1, 2 * n_phases + 1))
    assert result.metrics["protocol"] == (
        "holdout" if bundle.config.folds.n_splits == 1 else "cross_validation"
    )
    files = [file for label in CLASSES for file in sorted((photos / label).iterdir())[:2]]
    answers = load(result.bundle).predict(files)
    assert answers.answered.all()
    assert answers.classes == tuple(CLASSES)
