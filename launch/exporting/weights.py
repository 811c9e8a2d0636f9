"""Weights as a safetensors file: the tensors, and in its header what network they are of and what it was shown."""

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pipeline.errors import BadInput

FORMAT = "n2n-weights-1"


def weights_bytes(weights: Mapping[str, Tensor], about: dict[str, Any], dtype: torch.dtype = torch.float32) -> bytes:
    """A network's weights as the bytes of a file, and what is known of it: at least `network` and `corruption`."""
    tensors = {name: tensor.cpu().to(dtype).contiguous() for name, tensor in weights.items()}
    return bytes(safetensors.torch.save(tensors, {"format": FORMAT, "about": json.dumps(about)}))


def read_weights(data: bytes, where: object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and what is known of them. Raises BadInput for what weights_bytes did not write."""
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])["__metadata__"]
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}")
        return safetensors.torch.load(data), json.loads(header["about"])
    except Exception as error:  # SafetensorError, ValueError, KeyError and others
        wanted = f"a safetensors file of {FORMAT}, as `n2n export` writes"
        raise BadInput("not a file of weights", where, f"{type(error).__name__}: {error}", wanted) from error
