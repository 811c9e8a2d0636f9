"""Weights as a safetensors file: the tensors, and in its header what network they are of and what it was shown."""

import json
from typing import Any

from torch import Tensor

from pipeline.errors import BadInput

FORMAT = "n2n-weights-1"


def weights_bytes(denoiser: Any) -> bytes:
    """A denoiser's network as the bytes of a file. Raises BadInput where safetensors is not installed."""
    save = imported().save
    about = {"network": denoiser.network, "corruption": denoiser.corruption}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in denoiser.net.state_dict().items()}
    return bytes(save(tensors, {"format": FORMAT, "about": json.dumps(about)}))


def read_weights(data: bytes, where: object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and `network` and `corruption`. Raises BadInput for what weights_bytes did not write."""
    safetensors = imported()
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])["__metadata__"]
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}")
        return safetensors.load(data), json.loads(header["about"])
    except Exception as error:  # SafetensorError, ValueError, KeyError and others
        wanted = f"a safetensors file of {FORMAT}, as `n2n export` writes"
        raise BadInput("not a file of weights", where, f"{type(error).__name__}: {error}", wanted) from error


def imported() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        todo = "pip install -e '.[export]'"
        raise BadInput("safetensors is not installed", "weights", str(error), "the extra `export`", todo) from error
    return safetensors.torch
