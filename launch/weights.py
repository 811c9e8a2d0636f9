"""Weights as a safetensors file: the tensors, and in its header what network they are of and what it was shown."""

import json
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pipeline.errors import BadInput

FORMAT = "n2n-weights-1"


def weights_bytes(denoiser: Any, dtype: torch.dtype = torch.float32) -> bytes:
    """A denoiser's network as the bytes of a file, with what is known of its training but for anybody's paths."""
    training = denoiser.training
    known = {name: training[name] for name in ("corruption", "images", "data_sha256") if name in training}
    if "pairs" in training:
        known["pairs"] = {"target": training["pairs"]["target"]}
    about = {"network": denoiser.network, "corruption": denoiser.corruption, "training": known}
    tensors = {name: tensor.cpu().to(dtype).contiguous() for name, tensor in denoiser.net.state_dict().items()}
    return bytes(safetensors.torch.save(tensors, {"format": FORMAT, "about": json.dumps(about)}))


def read_weights(data: bytes, where: object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and `network` and `corruption`. Raises BadInput for what weights_bytes did not write."""
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])["__metadata__"]
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}")
        return safetensors.torch.load(data), json.loads(header["about"])
    except Exception as error:  # SafetensorError, ValueError, KeyError and others
        wanted = f"a safetensors file of {FORMAT}, as `n2n export` writes"
        raise BadInput("not a file of weights", where, f"{type(error).__name__}: {error}", wanted) from error
