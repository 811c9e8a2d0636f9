"""What training on renders does otherwise than training on pictures: its pairs, its loss, its validation."""

import logging
from pathlib import Path

from launch.config import RunConfig
from launch.evaluation.render_scores import frames_to_score, mean_score, measure_frame, score_frames
from launch.evaluation.scores import captioned
from launch.frame_denoiser import FrameDenoiser
from launch.objective import choose_render_loss
from launch.report import Report
from launch.state import TrainState
from pipeline.errors import BadInput
from pipeline.order import Order
from pipeline.panel import SHOWN, compared, stacked
from pipeline.realisations import RealisationSet
from pipeline.remote.cache import open_files
from pipeline.render_pairs import RenderPairDataset
from pipeline.rendering.on_demand import RenderedSet
from pipeline.shard_files import ShardFiles

log = logging.getLogger(__name__)


def open_renders(config: RunConfig, lanes: int) -> tuple[RenderPairDataset, str]:
    """The pairs of a set of renders, of which this machine has so many lanes, and the loss.

    Raises BadInput where the configuration does not fit renders.
    """
    loss_name = choose_render_loss(config.loss, config.pairs.target)
    if config.network.in_channels != config.renders.channels:
        raise BadInput(
            "the network has not as many inputs as it is shown",
            where="network.in_channels",
            got=f"{config.network.in_channels}, for radiance and renders.buffers {list(config.renders.buffers)}",
            wanted=f"{config.renders.channels}",
            todo=f"set network.in_channels to {config.renders.channels}, or other renders.buffers",
        )
    if config.pairs.capture != "fresh":
        got = f"{config.pairs.capture}: renders are as they were rendered"
        raise BadInput("renders have no noise to draw", "pairs.capture", got, "fresh")
    frames = open_rendered(config) if config.data.render else open_train_set(config, lanes)
    if config.pairs.target == "clean" and isinstance(frames, RealisationSet):
        lacking = len(frames) - len(frames_to_score(frames))
        if lacking:
            raise BadInput(
                "clean targets need references", frames.files.address, f"{lacking} frames without", "one a frame"
            )
    order = Order(config.seed, frames.samples_per_shard, config.loader.window, lanes=config.loader.lanes)
    return RenderPairDataset(frames, order, config.pairs, config.renders, config.seed), loss_name


def open_rendered(config: RunConfig) -> RenderedSet:
    """Raises BadInput where the configuration wants what is not rendered, and where nothing can render."""
    data = config.data
    if data.train:
        raise BadInput("two things to train on", "data.train and data.render", data.train, "one of them")
    if config.pairs.target == "clean":
        raise BadInput("nothing clean is rendered", "data.render", "pairs.target clean", "pairs.target noisy")
    if config.renders.importance:
        got = f"renders.importance {config.renders.importance}"
        raise BadInput("crops are rendered before their noise is known", "data.render", got, "renders.importance 0")
    return RenderedSet(data.render, config.pairs.crop, data.render_size, data.render_spp, config.seed)


def open_train_set(config: RunConfig, lanes: int) -> RealisationSet:
    """Raises BadInput where there is none."""
    data = config.data
    if not data.train:
        wanted = "data.train, made by `n2n shard --renders`; or data.render"
        raise BadInput("nothing to train on", "data.train", "no set", wanted)
    return open_set(open_files(data.train, data.cache, config.loader.window, lanes))


def open_set(of: Path | ShardFiles) -> RealisationSet:
    """Raises BadInput where it holds anything but renders."""
    frames = RealisationSet(of)
    kind = frames.index.options.get("kind")
    if kind != "renders":
        raise BadInput(
            "not a set of renders", frames.files.address, f"a set of {kind}", "one made by `n2n shard --renders`"
        )
    return frames


class RenderValidation:
    """Frames with references, denoised by the averaged network."""

    def __init__(self, config: RunConfig) -> None:
        self.renders = config.renders
        self.frames = open_set(open_files(config.data.validation, config.data.cache))
        self.samples = frames_to_score(self.frames, config.data.validation_pictures)

    def __call__(self, state: TrainState, report: Report) -> dict[str, float]:
        """Measure; every rank does its share."""
        denoise = FrameDenoiser(state.ema_net, self.renders, state.world.device)
        with state.autocast:
            frames = score_frames(denoise, self.frames, self.samples, state.world)
            scores = mean_score(frames)
            by_frame = {f"val/frame/{frame.name}/psnr_tonemapped_db": frame.psnr_tonemapped_db for frame in frames}
            report.metrics(state.images, {f"val/{name}": value for name, value in scores.items()} | by_frame)
            if state.world.first:
                shown = [measure_frame({"": denoise}, self.frames, sample)[1] for sample in self.samples[:SHOWN]]
                rows = [compared(captioned(views)) for views in shown]
                report.picture(state.images, "val/picture", stacked(rows))
        if state.world.first:
            log.info(
                "%9d images  validation, tone-mapped: noisy %.2f dB, denoised %.2f dB; energy %+.2f %%",
                *(state.images, scores["psnr_noisy_tonemapped_db"], scores["psnr_tonemapped_db"]),
                scores["energy_bias_percent"],
            )
        return scores
