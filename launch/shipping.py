"""Making weights that come with the project: half precision, their list, a card, and a gain that anyone can check."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from launch.denoiser import EXPORTED, Denoiser
from launch.model_card import Said, card
from launch.shipped import LIST, SHIPPED, Shipped, shipped
from launch.weights import weights_bytes
from model.metrics import psnr_db
from pipeline.atomic import write_whole
from pipeline.corruption import PUBLISHED_TEST, corrupt
from pipeline.dead_leaves import dead_leaves
from pipeline.errors import BadInput
from pipeline.gallery import TEST_NOISE_SEED
from pipeline.randomness import key, name_generator

SIDE = 192
TOLERANCE = 2e-3  # of a result, for weights of 11 bits: half a step of 8 bits


def ship(denoiser: Denoiser, name: str, said: Said, folder: Path = SHIPPED) -> str:
    """Write NAME.safetensors with its card into the folder, and list it there. Returns a line about it.

    In float16, whose 11 bits round a weight eight times less than bfloat16's 8. Raises BadInput where that changes
    results visibly, or where the weights gain nothing.
    """
    data = weights_bytes(denoiser, torch.float16)
    restored = Denoiser.from_weights(data, name, denoiser.device)
    noisy = torch.rand(denoiser.channels, 96, 96, generator=torch.Generator().manual_seed(0))
    difference = float((restored(noisy) - denoiser(noisy)).abs().max())
    if not difference < TOLERANCE:
        got = f"a difference of {difference:.1e}"
        raise BadInput("half precision changes what these weights do", name, got, f"less than {TOLERANCE:.0e}")
    gain = leaves_gain_db(restored)
    if not gain > 0:
        raise BadInput("these weights denoise nothing", name, f"{gain:.2f} dB gained", "more than 0", "train longer")
    training = denoiser.training
    strengths = (f"{option}={value}" for option, value in training.get("corruption", {}).items() if option != "name")
    entry = Shipped(
        name=name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        network=denoiser.net.config.name,
        corruption=denoiser.corruption,
        noise=" ".join([denoiser.corruption, *(word for word in strengths if not word.endswith("=None"))]),
        images=training.get("images", 0),
        target=training.get("pairs", {}).get("target", "not known"),
        licence=said.licence,
        leaves_gain_db=round(gain, 3),
        results=[result(score) for score in said.scores],
    )
    folder.mkdir(parents=True, exist_ok=True)
    about = card(denoiser, name + EXPORTED, "safetensors, float16", difference, said)
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
    mean = score["mean"]
    return {
        "pictures": score.get("pictures", ""),
        "count": len(score["images"]),
        "noise": score["noise"],
        "noisy_db": round(mean["psnr_noisy_srgb_db"], 2),
        "denoised_db": round(mean["psnr_srgb8_db"], 2),
        "ssim": round(mean["ssim_srgb8"], 4),
    }


def leaves_gain_db(denoiser: Denoiser) -> float:
    """How many decibels a denoiser gains on a generated picture under its own test noise; of floats, unclipped."""
    leaves = dead_leaves(SIDE, np.random.default_rng(key(TEST_NOISE_SEED, 0)))
    clean = torch.from_numpy(leaves.transpose(2, 0, 1).astype(np.float32) / 255)
    noise = PUBLISHED_TEST[denoiser.corruption]
    noisy = corrupt(clean, noise, name_generator(TEST_NOISE_SEED, "leaves")).pixels
    return psnr_db(denoiser(noisy) * 255, clean * 255) - psnr_db(noisy * 255, clean * 255)
