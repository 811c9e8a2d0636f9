"""Verb: denoise pictures of any size. No noise is added; what comes out has the format of what went in."""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from launch.denoise_frames import Summary, denoise_frames
from launch.denoiser import Denoiser, trained_on
from launch.frame_denoiser import FrameDenoiser
from pipeline.atomic import write_whole
from pipeline.errors import BadInput, run_verb
from pipeline.exr.buffers import Patterns
from pipeline.picture import Picture, decode, encode, from_unit, to_unit
from pipeline.sources.listing import list_pictures

MAX_PIXELS = 1 << 30  # a person named this file, so only what cannot be held is refused


def denoise_picture(denoiser: Denoiser, picture: Picture) -> Picture:
    """The picture denoised, in the same bits and channels; its transparency is kept as it is."""
    denoised = denoiser(torch.from_numpy(to_unit(picture.pixels))).numpy()
    if len(picture.pixels) == 1:
        denoised = denoised.mean(axis=0, keepdims=True)
    pixels = np.ascontiguousarray(from_unit(denoised, picture.bits))
    return Picture(pixels, picture.alpha, picture.icc_profile)


def outputs(sources: list[Path], out: Path) -> dict[Path, Path]:
    """Which file goes where. Raises BadInput where two would share a name, or one would overwrite its source."""
    targets: dict[Path, Path] = {}
    for file in list_pictures(sources):
        target = out / file.name
        if target in targets:
            got = f"{targets[target]} and {file.path}"
            raise BadInput("two pictures of one name", target, got, "different names", "denoise them into two folders")
        if target.resolve() == file.path.resolve():
            raise BadInput("the output would overwrite the input", file.path, f"--out {out}", "another folder")
        targets[target] = file.path
    return {source: target for target, source in targets.items()}


def frames_denoised(options: argparse.Namespace) -> Summary:
    """EXR frames by a denoiser of renders."""
    if options.exposure is not None and not options.exposure > 0:
        raise BadInput("an exposure that is no factor", "the command line", str(options.exposure), "more than 0")
    channels = Patterns.parse(options.channels)
    return denoise_frames(FrameDenoiser.load(options.run), options.pictures, options.out, channels, options.exposure)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n denoise", description="Denoise pictures.")
    parser.add_argument("run", help="folder of a run, or a checkpoint")
    parser.add_argument("pictures", type=Path, nargs="+", help="pictures or EXR frames, folders of them, shot.####.exr")
    parser.add_argument("--out", type=Path, required=True, help="folder for the denoised pictures")
    parser.add_argument("--exposure", type=float, help="EXR: factor before the network (default: from the frames)")
    parser.add_argument("--channels", action="append", default=[], help="EXR: as for n2n shard, such as color=C.[rgb]")
    options = parser.parse_args(arguments)
    if trained_on(Path(options.run)) == "renders":
        print(frames_denoised(options))
        return
    if options.exposure is not None or options.channels:
        raise BadInput("an option for EXR frames", "the command line", f"a run on pictures, {options.run}")
    files = outputs(options.pictures, options.out)
    denoiser = Denoiser.load(options.run)
    for source, target in tqdm(files.items(), "denoise", unit="picture", disable=None):
        picture = decode(source.read_bytes(), source, MAX_PIXELS)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = encode(denoise_picture(denoiser, picture), target.suffix)
        with write_whole(target) as file:
            file.write(data)
    print(f"{len(files)} denoised, in {options.out}")


if __name__ == "__main__":
    run_verb(main)
