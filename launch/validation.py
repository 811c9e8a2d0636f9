"""Validation during training: on clean pictures under test noise, or on real shots without any clean picture."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from launch.config import RunConfig
from launch.evaluation.scores import captioned, evaluate, mean_of, measure, share_out
from launch.render_training import RenderValidation
from launch.report import Report
from launch.state import TrainState
from launch.unbiased import Scenes, refusal, scene_errors, summary
from model.tiling import denoise_tiled
from pipeline.errors import BadInput
from pipeline.foreign import indexed
from pipeline.gallery import Gallery
from pipeline.index import INDEX
from pipeline.pairs import PairDataset
from pipeline.panel import SHOWN, coloured, compared, stacked
from pipeline.remote.cache import open_files
from pipeline.remote.place import Remote, place
from pipeline.render_pairs import RenderPairDataset
from pipeline.shard_files import ShardFiles
from pipeline.shot_pairs import ShotPairs

log = logging.getLogger(__name__)


def fit_channels(config: RunConfig, dataset: PairDataset | ShotPairs | RenderPairDataset) -> RunConfig:
    """The configuration with the network's channels those of real shots: 1 where all are grey."""
    if not isinstance(dataset, ShotPairs):
        return config
    channels = dataset.scale.channels
    return replace(config, network=replace(config.network, in_channels=channels, out_channels=channels))


def open_validation(config: RunConfig) -> Gallery | Scenes | RenderValidation | None:
    """Pictures or scenes to validate on. Raises BadInput where they are not of the kind that is trained on."""
    if not config.data.validation:
        return None
    if config.data.kind == "renders":
        return RenderValidation(config)
    where = place(config.data.validation)
    folder = where if isinstance(where, Remote) else indexed(where)
    is_set = isinstance(folder, Remote) or (folder / INDEX).exists()
    of = open_files(folder, config.data.cache) if is_set else Path(config.data.validation)
    scenes = isinstance(of, ShardFiles) and bool(of.index.members_sha256)
    real = config.corruption.name == "none"
    if scenes != real:
        kinds = ("clean pictures", "a set of real shots")
        raise BadInput("validation of another kind", where, kinds[scenes], kinds[real], "name another data.validation")
    return (Scenes if real else Gallery)(of, config.data.validation_pictures)


def validate(
    state: TrainState, on: Gallery | Scenes | RenderValidation, config: RunConfig, report: Report
) -> dict[str, float]:
    """Measure the averaged network; every rank does its share. Returns the numbers, which are the same on all."""

    def denoise(noisy: Tensor) -> Tensor:
        with torch.no_grad(), state.autocast:
            return denoise_tiled(state.ema_net, noisy.to(state.world.device), state.ema_net.reach).float().cpu()

    if isinstance(on, RenderValidation):
        said = on(state, report)
    elif isinstance(on, Scenes):
        said = validate_scenes(denoise, state, on, report)
    else:
        said = validate_pictures(denoise, state, on, config, report)
    report.pause()
    return said


def validate_pictures(
    denoise: Callable[[Tensor], Tensor], state: TrainState, gallery: Gallery, config: RunConfig, report: Report
) -> dict[str, float]:
    corruption = config.corruption.at_test_strength()
    scores = mean_of(evaluate(denoise, gallery, corruption, state.world))
    report.metrics(state.images, {f"val/{name}": value for name, value in scores.items()})

    def row(name: str) -> Image.Image:
        return compared(captioned(measure({"denoised": denoise}, gallery, name, corruption)[1]))

    rows = share_out(gallery.names[:SHOWN], row, state.world)
    if state.world.first:
        report.picture(state.images, "val/picture", stacked(rows))
        log.info(
            "%9d images  validation: noisy %.2f dB, denoised %.2f dB, SSIM %.4f",
            *(state.images, scores["psnr_noisy_srgb_db"], scores["psnr_srgb8_db"], scores["ssim_srgb8"]),
        )
    return scores


def validate_scenes(
    denoise: Callable[[Tensor], Tensor], state: TrainState, scenes: Scenes, report: Report
) -> dict[str, float]:
    said = summary(scene_errors(denoise, scenes, state.world), scenes.dependent)
    report.metrics(state.images, {f"val/{name}": value for name, value in said.items()})
    if state.world.first:
        rows = []
        for sample in scenes.samples[:SHOWN]:
            first, second, *_ = scenes.shots(sample)
            views = [("one shot", first), ("denoised", denoise(first)), ("another shot", second)]
            rows.append(compared([(caption, coloured(view)) for caption, view in views]))
        report.picture(state.images, "val/picture", stacked(rows))
        text = ", ".join(f"{name} {value:.4g}" for name, value in said.items())
        log.info("%9d images  validation: %s", state.images, text)
        if scenes.dependent:
            log.warning("%s", refusal(scenes.dependent))
    return said
