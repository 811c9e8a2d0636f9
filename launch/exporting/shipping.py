"""Making weights that come with the project: half precision, their list, a card, and a gain that anyone can check."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from launch.denoiser import Denoiser
from launch.exporting.model_card import Said, card, decibels_of, noise_of
from launch.frame_denoiser import FrameDenoiser
from launch.shipped import LIST, SHIPPED, Shipped, shipped
from launch.trained import EXPORTED, Trained, of_bytes
from model.hdr_metrics import psnr_tonemapped_db
from model.light import linear_light
from model.metrics import psnr_db
from pipeline.atomic import write_whole
from pipeline.corruption import PUBLISHED_TEST, corrupt
from pipeline.dead_leaves import dead_leaves
from pipeline.errors import BadInput
from pipeline.gallery import TEST_NOISE_SEED
from pipeline.randomness import key, name_generator

SIDE = 192
TOLERANCE = 2e-3  # of a result, for weights of 11 bits: half a step of 8 bits


def ship(trained: Trained, name: str, said: Said, folder: Path = SHIPPED) -> str:
    """Write NAME.safetensors with its card into the folder, and list it there. Returns a line about it.

    In float16, whose 11 bits round a weight eight times less than bfloat16's 8. Raises BadInput where that changes
    results visibly, or where the weights gain nothing.
    """
    data = trained.to_bytes(torch.float16)
    restored = of_bytes(data, name)
    noisy = torch.rand(1, trained.channels, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = float((restored.net.eval()(noisy) - trained.net.eval()(noisy)).abs().max())
    if not difference < TOLERANCE:
        got = f"a difference of {difference:.1e}"
        raise BadInput("half precision changes what these weights do", name, got, f"less than {TOLERANCE:.0e}")
    gain = leaves_gain_db(restored)
    if not gain > 0:
        raise BadInput("these weights denoise nothing", name, f"{gain:.2f} dB gained", "more than 0", "train longer")
    training = trained.training
    entry = Shipped(
        name=name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        network=trained.net.config.name,
        corruption=trained.corruption,
        noise=noise_of(trained),
        images=training.get("images", 0),
        target=training.get("pairs", {}).get("target", "not known"),
        licence=said.licence,
        leaves_gain_db=round(gain, 3),
        results=[result(score) for score in said.scores],
    )
    folder.mkdir(parents=True, exist_ok=True)
    about = card(trained, name + EXPORTED, "safetensors, float16", difference, said)
    known = {**shipped(folder), name: entry}
    listed = {"weights": [asdict(known[each]) for each in sorted(known)]}
    for file_name, content in {
        name + EXPORTED: data,
        f"{name}{EXPORTED}.md": about.encode(),
        LIST: json.dumps(listed, indent=1).encode() + b"\n",
    }.items():
        with write_whole(folder / file_name) as file:
            file.write(content)
    return f"weights:{name}: {len(data):,} bytes in {folder}; {gain:.2f} dB gained on a generated picture"


def result(score: dict[str, Any]) -> dict[str, Any]:
    noisy, denoised = decibels_of(score)
    similar = score["mean"].get("ssim_srgb8")
    return {
        "pictures": score.get("pictures", ""),
        "count": len(score["images"]),
        "noise": score.get("noise", "renders"),
        "noisy_db": round(noisy, 2),
        "denoised_db": round(denoised, 2),
        "ssim": None if similar is None else round(similar, 4),
    }


def leaves_gain_db(trained: Trained) -> float:
    """How many decibels weights gain on a generated picture under their own test noise, on the CPU; unclipped."""
    leaves = dead_leaves(SIDE, np.random.default_rng(key(TEST_NOISE_SEED, 0)))
    clean = torch.from_numpy(leaves.transpose(2, 0, 1).astype(np.float32) / 255)
    if trained.kind == "renders":
        return render_gain_db(FrameDenoiser.of(trained, device=torch.device("cpu")), clean)
    noise = PUBLISHED_TEST[trained.corruption]
    noisy = corrupt(clean, noise, name_generator(TEST_NOISE_SEED, "leaves")).pixels
    denoised = Denoiser.of(trained, torch.device("cpu"))(noisy)
    return psnr_db(denoised * 255, clean * 255) - psnr_db(noisy * 255, clean * 255)


def render_gain_db(denoise: FrameDenoiser, leaves: Tensor) -> float:
    """On a wall of these leaves, lit from one side, each pixel the mean of few samples, exponentially distributed."""
    albedo = linear_light(leaves)
    light = 0.5 + torch.linspace(0, 2, SIDE)
    samples = torch.empty(4, 3, SIDE, SIDE).exponential_(generator=name_generator(TEST_NOISE_SEED, "render"))
    clean = albedo * light
    noisy = clean * samples.mean(0)
    facing = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand_as(albedo)
    buffers = {"color": noisy.numpy(), "albedo": albedo.numpy(), "normal": facing.numpy()}
    buffers["depth"] = np.ones((1, SIDE, SIDE), np.float32)
    denoised = torch.from_numpy(denoise(buffers, 1.0))
    return psnr_tonemapped_db(denoised, clean) - psnr_tonemapped_db(noisy, clean)
