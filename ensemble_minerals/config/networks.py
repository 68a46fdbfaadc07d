"""Networks that are trained on the photos: what is loaded, how it is trained in phases, and how it predicts."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from ensemble_minerals.config.extractors import PreprocessingConfig
from ensemble_minerals.config.fields import (
    Count,
    Distinct,
    Many,
    Name,
    NotNegative,
    Positive,
    Ratio,
    Section,
    Share,
    Some,
    Text,
    View,
    Weights,
    as_tuple,
    wrong,
)
from ensemble_minerals.config.kinds import Kinds
from ensemble_minerals.config.names import shown


def _layers(value: object) -> object:
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    if isinstance(value, str):
        number = value.removeprefix("last:")
        if value in ("head", "all") or (number != value and number.isdecimal() and int(number) > 0):
            return value
    raise wrong(
        f"must be head, all, last:N (the last N blocks), or a list of layer names, got {shown(value)}"
    )


Layers: TypeAlias = Annotated[str | tuple[str, ...], BeforeValidator(_layers)]
Range: TypeAlias = Annotated[tuple[float, float], BeforeValidator(as_tuple)]


class OwnHeadConfig(Section):
    """The classifier of the network itself, with as many outputs as the member needs."""

    kind: Literal["own"] = "own"


class LayersHeadConfig(Section):
    """Pooling, then dense layers.

    Attributes:
        pooling: Of the last map: its mean, maximum or both, mean and standard deviation, or all its values;
            ``taps`` is mean and standard deviation of the maps that frozen features use, of every stage.
        batch_norm: Before each dense layer.
        dropout: Before each dense layer: one share for all, or one each (the hidden layers, then the last).
        hidden: Widths of the dense layers before the last, each followed by ReLU.
        init: ``zero`` starts the last layer from 0, so that nothing random stays where few photos teach many
            weights; ``probe`` from the solution of logistic regression on frozen features (linear probe, then
            fine-tune: Kumar et al. 2022), and needs `hidden` to be empty.
        probe_C: Inverse strength of that regression's penalty.
    """

    kind: Literal["layers"] = "layers"
    pooling: Literal["avg", "max", "avgmax", "stats", "flatten", "taps"] = "avg"
    batch_norm: bool = False
    dropout: Share | Many[Share] = 0.2
    hidden: Many[Count] = ()
    init: Literal["random", "zero", "probe"] = "random"
    probe_C: Positive = 30.0  # noqa: N815  # scikit-learn's own name of it


class PhaseConfig(Section):
    """One phase of training.

    Attributes:
        train: Which layers learn: ``head``, ``all``, ``last:N`` (the last N blocks and what follows them), or
            names of layers (and all inside them); the head always learns. Batch norm statistics of frozen layers
            do not change.
        optimizer: As in torch.
        lr: Learning rate of the head, and of the body unless `body_lr` says otherwise.
        body_lr: Learning rate of the body.
        layer_decay: Factor on the body's rate for each block further from the head.
        weight_decay: As in torch.
        lr_decay: Rate is divided by ``1 + lr_decay * step`` (Keras' decay).
        momentum: Of SGD and RMSprop.
        alpha: Of RMSprop, how slowly its mean of squared gradients changes. torch's 0.99 makes the first steps ten
            times as large as the rate, Keras' 0.9 three times.
        schedule: How the rate changes: constant, cosine to 0, one cycle up and down, or halved on a plateau.
        warmup: Share of the phase in which the rate rises: from 0 (cosine), or up the cycle (one_cycle).
        epochs: At most.
        patience: Epochs without a better `monitor` until the phase ends; null never ends it early.
        monitor: Score on the inner validation rows that `patience`, the plateau and `keep` use.
        keep: Which epoch's weights are kept: the best by `monitor`, or the last.
    """

    train: Layers = "all"
    optimizer: Literal["adamw", "adam", "rmsprop", "sgd"] = "adamw"
    lr: Positive = 1e-3
    body_lr: Positive | None = None
    layer_decay: Ratio = 1.0
    weight_decay: NotNegative = 0.0
    lr_decay: NotNegative = 0.0
    momentum: Share = 0.0
    alpha: Share = 0.99
    schedule: Literal["constant", "cosine", "one_cycle", "plateau"] = "constant"
    warmup: Share = 0.25
    epochs: Count = 10
    patience: Count | None = None
    monitor: Literal["loss", "accuracy", "macro_f1"] = "loss"
    keep: Literal["best", "last"] = "best"


class CrossEntropyLoss(Section):
    """Cross-entropy.

    Attributes:
        label_smoothing: Share of the probability that is spread over all classes.
        class_weight: ``balanced`` weighs each class by the inverse of its rows.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Share = 0.0
    class_weight: Literal["none", "balanced"] = "none"


class FocalLoss(Section):
    """Focal loss (Lin et al. 2017): cross-entropy times ``(1 - p) ** gamma``.

    Attributes:
        gamma: How much less a row counts that is answered right; 0 is cross-entropy.
        class_weight: ``balanced`` weighs each class by the inverse of its rows.
    """

    kind: Literal["focal"] = "focal"
    gamma: NotNegative = 2.0
    class_weight: Literal["none", "balanced"] = "none"


class LogitAdjustedLoss(Section):
    """Logit-adjusted cross-entropy (Menon et al. 2021): ``tau * log(prior)`` is added while training.

    Attributes:
        tau: Strength of the adjustment.
    """

    kind: Literal["logit_adjusted"] = "logit_adjusted"
    tau: NotNegative = 1.0


LossConfig: TypeAlias = Annotated[
    CrossEntropyLoss | FocalLoss | LogitAdjustedLoss, Kinds(CrossEntropyLoss, FocalLoss, LogitAdjustedLoss)
]
NetworkHeadConfig: TypeAlias = Annotated[
    OwnHeadConfig | LayersHeadConfig, Kinds(OwnHeadConfig, LayersHeadConfig, default="layers")
]


class RandAugmentConfig(Section):
    """RandAugment (Cubuk et al. 2020).

    Attributes:
        operations: Number of random operations for each photo.
        magnitude: Their strength, from 0 to 30.
    """

    operations: Count = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9


class AugmentConfig(Section):
    """Random changes of training photos. Rows that are predicted or used for validation are never changed.

    Attributes:
        crop: Random resized crop: smallest and largest share of the area; null takes the whole photo.
        horizontal_flip: Mirror half of the photos.
        vertical_flip: Turn half of them upside down.
        rotation: At most this many degrees to either side.
        shift: At most this share of the side.
        shear: At most this many degrees.
        zoom: At most this share in or out.
        brightness: Color jitter, as in torchvision.
        contrast: Color jitter.
        saturation: Color jitter.
        hue: Color jitter, at most 0.5.
        noise: Standard deviation of Gaussian noise; white is 1.
        erasing: Share of the photos from which a rectangle is erased.
        randaugment: As in torchvision; null leaves it out.
    """

    crop: Range | None = None
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    shift: Share = 0.0
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    zoom: Share = 0.0
    brightness: NotNegative = 0.0
    contrast: NotNegative = 0.0
    saturation: NotNegative = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    noise: NotNegative = 0.0
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    randaugment: RandAugmentConfig | None = None


class NetworkConfig(Section):
    """A network that is trained on the photos, in every fold anew.

    Attributes:
        name: What members call it.
        model: Any timm model name, or one of this package's own (see ``ensemble-minerals recipes``).
        weights: Where training starts: ``hub``, ``random``, ``package:NAME``, or the path of a weights file.
        size: Side of the square input in pixels, or height and width; None takes that of the weights.
        resize: The whole photo is squeezed to the input, or padded to its shape.
        preprocessing: Only for weights that do not state theirs.
        head: The layers that follow the body.
        phases: Phases of training, one after the other.
        loss: The loss that is minimized.
        mixup: Strength of mixup (Zhang et al. 2018); 0 leaves it out.
        cutmix: Strength of CutMix (Yun et al. 2019); 0 leaves it out. With both, each batch draws one.
        ema: Decay of an exponential moving average of the weights, which is then used to predict; null leaves it out.
        average_last: Number of last epochs of the last phase whose weights are averaged; 0 leaves it out.
        augment: Random changes of training photos.
        batch_size: Rows of one step.
        accumulate: Steps whose gradients are averaged before the weights change.
        clip: Largest norm of a gradient; null leaves it as it is.
        validation_fraction: Share of the training rows, by row groups, that early stopping uses.
        views: Crops whose log-odds are averaged when predicting.
        prefix_views: Where only the last layers learn, this many random views of each photo pass the frozen layers
            once and are kept, and training draws from them; 0 passes every photo through the whole network.
        precision: Of training and prediction; auto is bfloat16 on GPUs and processors with matrix units for it.
        memory: Most megabytes for shrunken photos, and for kept views.
        tensorboard: Folder for TensorBoard's event files, one folder a training in it; null writes none.
    """

    name: Name
    model: Text
    weights: Weights = "hub"
    size: (
        Annotated[int, Field(ge=16, le=4096)] | Annotated[tuple[int, int], BeforeValidator(as_tuple)] | None
    ) = None
    resize: Literal["squash", "pad"] = "squash"
    preprocessing: PreprocessingConfig | None = None
    head: NetworkHeadConfig = LayersHeadConfig()
    phases: Some[PhaseConfig] = (PhaseConfig(),)
    loss: LossConfig = CrossEntropyLoss()
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    ema: Share | None = None
    average_last: Annotated[int, Field(ge=0)] = 0
    augment: AugmentConfig = AugmentConfig()
    batch_size: Annotated[int, Field(ge=2)] = 32
    accumulate: Count = 1
    clip: Positive | None = None
    validation_fraction: Share = 0.15
    views: Distinct[View] = ("squash",)
    prefix_views: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    memory: Count = 2048
    tensorboard: Text | None = None
