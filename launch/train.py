"""Verb: train a denoiser, on one process or on the ranks of torchrun; the same command again resumes."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import torch

from launch.checkpoint import load_latest, save_checkpoint
from launch.config import RunConfig, parse_config, refuse_change, to_dict
from launch.denoiser import load_weights
from launch.objective import choose_loss
from launch.report import Report, talk
from launch.run_dir import RunDir, plain
from launch.schedule import Interval, learning_rate
from launch.scores import captioned, evaluate, mean_of, measure
from launch.state import TrainState
from launch.stopping import StopRequest
from launch.tracking import Tracker
from launch.world import World, run_in_world
from model.losses import annealed_gamma, loss_at
from model.tiling import denoise_tiled
from pipeline.corruptions.camera import to_srgb
from pipeline.errors import BadInput, run_verb
from pipeline.gallery import Gallery
from pipeline.loader import BatchShare, load_pairs
from pipeline.order import Order
from pipeline.pairs import PairDataset
from pipeline.panel import side_by_side
from pipeline.reader import ShardSet

log = logging.getLogger(__name__)


def train(config: RunConfig, world: World) -> None:
    """Train until `train.images`, from the newest whole checkpoint of the run if there is one."""
    loss_name = choose_loss(config.loss, config.corruption, config.pairs.target)
    share = BatchShare(config.train.batch, world.rank, world.size)
    shards = ShardSet(Path(config.data.train))
    order = Order(config.seed, shards.samples_per_shard, config.loader.window)
    dataset = PairDataset(shards, order, config.pairs, config.corruption, config.seed)
    gallery = Gallery(Path(config.data.validation), config.data.validation_pictures) if config.data.validation else None
    state = TrainState(config.network, config.train, config.seed, world)
    run = RunDir(Path(config.run))
    if world.first:
        run.claim()
    tracker_id = resume(run, config, shards, state)
    tracker = open_run(run, config, shards, state, tracker_id) if world.first else None
    every = config.train.log_every_images
    report = Report(world, run, tracker, start=state.images, total=config.train.images, every=every)

    stop = StopRequest(world)
    saving = Interval(config.train.checkpoint_every_minutes)
    pin_memory = world.device.type == "cuda"
    pairs = load_pairs(dataset, share, config.loader, start=state.images, pin_memory=pin_memory)
    while state.images < config.train.images:
        batch, waited_s = next(pairs)
        lr = learning_rate(config.optim, state.images, config.train.images)
        gamma = annealed_gamma(state.images, config.train.images, config.loss.gamma_floor)
        loss = state.step(batch, lr, loss_at(loss_name, gamma))
        report.step(state.images, loss=loss, lr=lr, data_wait_s=waited_s)

        done, stopped = state.images >= config.train.images, stop.agreed()
        if gallery and (done or due(state, config.train.validate_every_images)):
            validate(state, gallery, config, report)
        if world.first and (done or stopped or saving.over() or due(state, config.train.checkpoint_every_images)):
            save(run, state, config, shards, tracker)
            saving.restart()
        if stopped and not done:
            log.info("%s: stopped at %d images; run the same command again to go on", stopped, state.images)
            break
    report.close()
    if tracker:
        tracker.finish()
        run.release()
        log.info("done: %d images; %s", state.images, run.path)


def due(state: TrainState, every: int) -> bool:
    """Whether the last step crossed a multiple of `every` images."""
    return state.images // every > (state.images - state.config.batch) // every


def validate(state: TrainState, gallery: Gallery, config: RunConfig, report: Report) -> None:
    """Measure the averaged network on clean pictures; every rank does its share."""

    def denoise(noisy: torch.Tensor) -> torch.Tensor:
        with state.autocast:
            denoised = denoise_tiled(state.ema_net, noisy.to(state.world.device)).cpu()
        return to_srgb(denoised) if config.corruption.law.linear else denoised

    corruption = config.corruption.at_test_strength()
    scores = mean_of(evaluate(denoise, gallery, corruption, state.world))
    report.metrics(state.images, {f"val/{name}": value for name, value in scores.items()})
    if state.world.first:
        _, views = measure({"denoised": denoise}, gallery, gallery.names[0], corruption)
        report.picture(state.images, "val/picture", side_by_side(captioned(views)))
        log.info(
            "%9d images  validation: noisy %.2f dB, denoised %.2f dB, SSIM %.4f",
            *(state.images, scores["psnr_noisy_srgb_db"], scores["psnr_srgb8_db"], scores["ssim_srgb8"]),
        )
    report.pause()


def resume(run: RunDir, config: RunConfig, shards: ShardSet, state: TrainState) -> str:
    """Bring the state to the run's newest whole checkpoint. Returns its W&B run id, empty for a new run.

    Rank 0 reads it for all: other nodes need not see its disk, nor can they disagree on which one is the newest.
    Raises BadInput where the configuration or the data is not that of the run.
    """
    document = state.world.from_first(load_latest(run) if state.world.first else None)
    if document is None:
        return ""
    if document["data_sha256"] != shards.index.samples_sha256:
        raise BadInput(
            "this run was trained on other data",
            where=config.data.train,
            got=f"samples.npy of SHA-256 {shards.index.samples_sha256[:16]}",
            wanted=f"{document['data_sha256'][:16]}, as when the run began",
            todo="name the set it was trained on, or start another run with --run",
        )
    for difference in refuse_change(document["config"], config, run.path):
        log.info("changed since the last start: %s", difference)
    load_weights(state.net, document["network"], run.path)
    state.load_state_dict(document)
    log.info("resuming %s at %d images", run.path, state.images)
    return str(document["wandb_id"])


def open_run(run: RunDir, config: RunConfig, shards: ShardSet, state: TrainState, tracker_id: str) -> Tracker:
    """Rank 0's part of a start: the run's account of itself, tracking, and a line on what will happen."""
    facts: dict[str, Any] = {
        "data": {"train": str(shards.folder.resolve()), "samples_sha256": shards.index.samples_sha256},
        "world": {
            "ranks": state.world.size,
            "device": str(state.world.device),
            "threads": torch.get_num_threads(),
        },
        "bfloat16": state.autocast._enabled,
        "cpus": os.cpu_count(),
    }
    run.explain(to_dict(config), facts)
    run.forget_metrics_after(state.images)
    parameters = sum(parameter.numel() for parameter in state.net.parameters())
    log.info(
        "training %d parameters on %d pictures of %s: %d to %d images, batch %d over %d rank(s) on %s, %s",
        *(parameters, len(shards), shards.folder, state.images, config.train.images, config.train.batch),
        *(state.world.size, state.world.device, "bfloat16" if state.autocast._enabled else "float32"),
    )
    return Tracker(config.wandb, run.path, to_dict(config), tracker_id)


def save(run: RunDir, state: TrainState, config: RunConfig, shards: ShardSet, tracker: Tracker | None) -> None:
    """Write a checkpoint: the state, and what a resumption must find unchanged."""
    document = {
        **state.state_dict(),
        "config": plain(to_dict(config)),
        "data_sha256": shards.index.samples_sha256,
        "wandb_id": tracker.id if tracker else "",
    }
    save_checkpoint(run, document, config.train.keep_checkpoints)


def main(arguments: list[str] | None = None) -> None:
    def run(world: World) -> None:
        talk(world)
        # Help and --print_config are for rank 0's console alone.
        with contextlib.nullcontext() if world.first else contextlib.redirect_stdout(None):
            config = parse_config(arguments)
        train(config, world)

    run_in_world(run)


if __name__ == "__main__":
    run_verb(main)
