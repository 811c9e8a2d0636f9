"""Verb: train a denoiser, on one process or on the ranks of torchrun; the same command again resumes."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch

from launch.checkpoint import load_latest
from launch.config import RunConfig, parse_config, refuse_change, to_dict
from launch.memory import memory_told
from launch.moments import Moments
from launch.objective import choose_loss, loss_now
from launch.pulse import STEP, Pulse
from launch.render_training import open_renders
from launch.report import Report, talk
from launch.run_dir import RunDir, plain
from launch.saver import Saver
from launch.schedule import Rhythm, learning_rate
from launch.state import TrainState
from launch.stopping import StopRequest
from launch.tracking import Tracker
from launch.trained import first_weights, load_weights
from launch.validation import fit_channels, open_validation, validate
from launch.world import World, run_in_world
from pipeline.errors import EXIT_BAD_INPUT, BadInput, run_verb
from pipeline.loader import BatchShare, load_pairs
from pipeline.open_pairs import open_pairs
from pipeline.pairs import PairDataset
from pipeline.reader import ShardSet
from pipeline.realisations import RealisationSet
from pipeline.remote.cache import open_files
from pipeline.rendering.on_demand import RenderedSet
from pipeline.shot_pairs import ShotPairs

log = logging.getLogger(__name__)

Data = ShardSet | RealisationSet | RenderedSet


def train(config: RunConfig, world: World) -> None:
    """Train until `train.images`, from the newest whole checkpoint of the run if there is one."""
    share = BatchShare(config.train.batch, world.rank, world.size, config.loader.lanes, world.machine)
    dataset, loss_name = (open_renders if config.data.kind == "renders" else open_shots)(config, len(share.lanes_here))
    shards = dataset.shards
    config = fit_channels(config, dataset)
    validation = open_validation(config)
    state = TrainState(config.network, config.train, config.seed, world, config.optim)
    run = RunDir(Path(config.run))
    if world.first:
        run.claim()
    begun = resume(run, config, shards, state)
    tracker = open_run(run, config, shards, state, begun) if world.first else None
    saver = Saver(run, config.train) if world.first else None
    report = Report(world, run, tracker, start=state.images, total=config.train.images)
    moments = Moments(world, StopRequest(), config.train.batch, config.train.images, **rhythms(config))
    pairs = load_pairs(dataset, share, config.loader, start=state.images, device=world.device)
    pulse = Pulse(world.rank, world.size)
    pulse.start()
    while state.images < config.train.images:
        pulse.at("waiting for data", state.images)
        batch, waited_s = next(pairs)
        pulse.at(STEP, state.images)
        lr = learning_rate(config.optim, state.images, config.train.images)
        with memory_told(config, world):
            loss = state.step(batch, lr, loss_now(config, loss_name, state.images))
        moment = moments.after(state.images)
        if moment.saves or moment.logs:
            check_finite(state, tracker)
        report.step(state.images, loss=loss, lr=lr, data_wait_s=waited_s, ends=moment.logs)
        if tracker and "histograms" in moment.due:
            tracker.log_histograms(state.images, state.net)

        if validation and moment.validates:
            said = validate(state, validation, config, report)
            if saver:
                saver.save_best(document(state, config, shards, tracker, begun), said)
        if saver and moment.saves:
            pulse.at("saving", state.images)
            saver.save(document(state, config, shards, tracker, begun))
        if moment.stopped and not moment.done:
            log.info("%s: stopped at %d images; run the same command again to go on", moment.stopped, state.images)
            break
    report.close()
    if saver and tracker:
        saver.close()
        tracker.keep_best(run.checkpoints)
        tracker.finish()
        run.release()
        log.info("done: %d images; %s", state.images, run.path)


def open_shots(config: RunConfig, lanes: int) -> tuple[PairDataset | ShotPairs, str]:
    """The pairs of photographs or of real shots, of which this machine has so many lanes, and the loss."""
    if not config.data.train or config.data.render:
        got = f"data.render {config.data.render}, for pictures" if config.data.render else "no set"
        wanted = "data.train, a folder of shards; or data.render with configs/render.yaml"
        raise BadInput("nothing to train on", "data.train", got, wanted)
    loss_name = choose_loss(config.loss, config.corruption, config.pairs.target)
    files = open_files(config.data.train, config.data.cache, config.loader.window, lanes)
    return open_pairs(files, config.pairs, config.corruption, config.seed, config.loader), loss_name


def rhythms(config: RunConfig) -> dict[str, Rhythm]:
    """What happens now and then, by its name in a Moment."""
    train, wandb = config.train, config.wandb
    return {
        "log": Rhythm(train.log_every_images, train.log_every_minutes),
        "validate": Rhythm(train.validate_every_images, train.validate_every_minutes),
        "checkpoint": Rhythm(train.checkpoint_every_images, train.checkpoint_every_minutes),
        "histograms": Rhythm(wandb.histograms_every_images, wandb.histograms_every_minutes),
    }


def check_finite(state: TrainState, tracker: Tracker | None) -> None:
    """Raise BadInput where a step was left out as not finite, with an alert on the way out."""
    try:
        state.refuse_non_finite()
    except BadInput as error:
        if tracker:
            tracker.alert("training diverged", str(error))
            tracker.finish(exit_code=EXIT_BAD_INPUT)
        raise


class Begun(NamedTuple):
    """From what a start goes on."""

    wandb_id: str = ""
    """The run's at W&B; empty for a new run."""
    init: dict[str, Any] | None = None
    """Of a run that began with given weights: their name, file, SHA-256, and on how many samples they had trained."""


def resume(run: RunDir, config: RunConfig, shards: Data, state: TrainState) -> Begun:
    """Bring the state to the run's newest whole checkpoint, or to the weights that it shall begin with, if any.

    Rank 0 reads it for all: other nodes need not see its disk, nor can they disagree on which one is the newest.
    Raises BadInput where the configuration or the data is not that of the run.
    """
    saved = state.world.from_first(load_latest(run) if state.world.first else None)
    if saved is None:
        if not config.init:
            return Begun()
        weights, source = state.world.from_first(
            first_weights(config.init, config.network.name) if state.world.first else ({}, {})
        )
        for net in (state.net, state.ema_net):
            load_weights(net, weights, config.init)
        log.info("beginning with the weights of %s, SHA-256 %s", config.init, source["sha256"][:16])
        return Begun(init=source)
    if saved["data_sha256"] != identity(shards):
        raise BadInput(
            "this run was trained on other data",
            where=config.data.train or config.data.render,
            got=f"data of SHA-256 {identity(shards)[:16]}",
            wanted=f"{saved['data_sha256'][:16]}, as when the run began",
            todo="name the set it was trained on, or start another run with --run",
        )
    for difference in refuse_change(saved["config"], config, run.path):
        log.info("changed since the last start: %s", difference)
    load_weights(state.net, saved["network"], run.path)
    state.load_state_dict(saved)
    log.info("resuming %s at %d images", run.path, state.images)
    return Begun(str(saved["wandb_id"]), saved.get("init"))


def open_run(run: RunDir, config: RunConfig, shards: Data, state: TrainState, begun: Begun) -> Tracker:
    """Rank 0's part of a start: the run's account of itself, tracking, and a line on what will happen."""
    place = shards if isinstance(shards, RenderedSet) else shards.files
    facts: dict[str, Any] = {
        "data": {"train": place.origin, "samples_sha256": identity(shards)},
        "world": {
            "ranks": state.world.size,
            "device": str(state.world.device),
            "threads": torch.get_num_threads(),
        },
        "bfloat16": state.autocast._enabled,
        "cpus": os.cpu_count(),
        **({"init": begun.init} if begun.init else {}),
    }
    run.explain(to_dict(config), facts)
    run.forget_metrics_after(state.images)
    parameters = sum(parameter.numel() for parameter in state.net.parameters())
    log.info(
        "training %d parameters on %d pictures of %s: %d to %d images, batch %d over %d rank(s) on %s, %s",
        *(parameters, len(shards), place.address, state.images, config.train.images, config.train.batch),
        *(state.world.size, state.world.device, "bfloat16" if state.autocast._enabled else "float32"),
    )
    tracker = Tracker(config.wandb, run.path, to_dict(config), begun.wandb_id)
    if not isinstance(shards, RenderedSet):  # which is nowhere
        tracker.uses(shards.files, identity(shards))
    return tracker


def identity(shards: Data) -> str:
    """The SHA-256 of what is trained on: of a set's table of samples, or of all that decides what is rendered."""
    return shards.sha256 if isinstance(shards, RenderedSet) else shards.index.samples_sha256


def document(
    state: TrainState, config: RunConfig, shards: Data, tracker: Tracker | None, begun: Begun
) -> dict[str, Any]:
    """A checkpoint's contents: the state, and what a resumption must find unchanged."""
    return {
        **state.state_dict(),
        "config": plain(to_dict(config)),
        "data_sha256": identity(shards),
        "wandb_id": tracker.id if tracker else "",
        "init": begun.init,
    }


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
