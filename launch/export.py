"""Verb: a trained denoiser for other programs, as ONNX, torch.export or safetensors, with a card beside it."""

import argparse
import io
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from launch.denoiser import Denoiser
from launch.exporting.model_card import Said, card
from launch.exporting.portable import Portable, exported
from launch.exporting.portable_frame import PortableFrame
from launch.exporting.shipping import ship
from launch.frame_denoiser import FrameDenoiser, renders_config
from launch.shipped import PREFIX, SHIPPED, WEIGHTS_HELP
from launch.trained import WHAT, Trained, of_bytes, read_trained
from pipeline.atomic import write_whole
from pipeline.errors import BadInput, run_verb
from pipeline.radiance import AUXILIARY

SIZES = ((1, 64, 64), (2, 33, 97), (1, 5, 2), (1, 200, 331))  # batch, height, width
TOLERANCE = 1e-4  # of the greatest difference; float32 leaves about 1e-6

Run = Callable[[Tensor], Tensor]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="n2n export", description="Take a denoiser elsewhere.")
    parser.add_argument("run", nargs="?", help=WHAT)
    parser.add_argument("--weights", metavar="NAME", help=f"{WEIGHTS_HELP}, instead of a run")
    parser.add_argument("--format", choices=sorted(FORMATS), help="what to write")
    parser.add_argument("--out", type=Path, help="file to write; the model card goes beside it")
    parser.add_argument("--ship", metavar="NAME", help="make this weights:NAME of the project, or of the folder --out")
    parser.add_argument(
        "--scores", type=Path, nargs="+", default=[], help="what `n2n evaluate --json` wrote, for the card"
    )
    parser.add_argument("--licence", default="not stated", help="licence of the weights, for the card")
    parser.add_argument(
        "--trained-on", default="not stated", help="the pictures they have seen, in words, for the card"
    )
    options = check(parser.parse_args(arguments))
    scores = [score for path in options.scores for score in read_scores(path)]
    said = Said(scores, options.licence, options.trained_on)
    trained = read_trained(options.run)
    if options.ship:
        print(ship(trained, options.ship, said, options.out or SHIPPED))
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    data, restored = FORMATS[options.format](trained)
    parity = greatest_difference(trained, restored)
    if not parity < TOLERANCE:
        got = f"a difference of {parity:.1e} to PyTorch"
        raise BadInput("the exported network is not the same", options.out, got, f"less than {TOLERANCE:.0e}")
    with write_whole(options.out) as file:
        file.write(data)
    about = card(trained, options.out.name, options.format, parity, said)
    with write_whole(options.out.with_name(options.out.name + ".md")) as file:
        file.write(about.encode())
    print(f"{options.out}: {len(data):,} bytes; differs from PyTorch by {parity:.1e} at most, over {len(SIZES)} sizes")


def check(options: argparse.Namespace) -> argparse.Namespace:
    """Raises BadInput for options that are missing or too many; puts a name of weights where the run is."""
    if bool(options.run) == bool(options.weights):
        raise BadInput("what is to be exported?", "the command line", "a run and --weights, or neither", "one of them")
    options.run = options.run or PREFIX + options.weights
    if options.ship and options.format:
        raise BadInput("an option too many", "the command line", "--ship and --format", "one of them")
    if not options.ship and not (options.format and options.out):
        raise BadInput("an export needs a place", "the command line", "no --ship", "--format and --out, or --ship")
    return options


def to_onnx(trained: Trained) -> tuple[bytes, Run]:
    try:
        import onnx  # the exporter's own
        import onnxruntime
        import onnxscript  # noqa: F401  # named before the exporter misses it
    except ImportError as error:
        todo = "install the extra: pip install -e '.[export]'"
        raise BadInput(
            "ONNX is not installed", "--format onnx", str(error), "onnx, onnxscript, onnxruntime", todo
        ) from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    memory = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the names of axes
        program = torch.onnx.export(
            exported(portable_of(trained), trained.channels),
            dynamo=True,
            input_names=["noisy"],
            output_names=["denoised"],
            verbose=False,
        )
    assert program is not None
    onnx.save(program.model_proto, memory)
    data = memory.getvalue()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return data, lambda noisy: torch.from_numpy(session.run(None, {"noisy": noisy.numpy()})[0])


def to_torch(trained: Trained) -> tuple[bytes, Run]:
    memory = io.BytesIO()
    torch.export.save(exported(portable_of(trained), trained.channels), memory)
    data = memory.getvalue()
    return data, torch.export.load(io.BytesIO(data)).module()


def to_safetensors(trained: Trained) -> tuple[bytes, Run]:
    data = trained.to_bytes()
    return data, portable_of(of_bytes(data, "the weights just written"))


FORMATS: dict[str, Callable[[Trained], tuple[bytes, Run]]] = {
    "onnx": to_onnx,
    "safetensors": to_safetensors,
    "torch": to_torch,
}


def portable_of(trained: Trained) -> nn.Module:
    """The graph with all that is before and after the network, of pictures or of renders."""
    if trained.kind == "renders":
        return PortableFrame(trained.net, renders_config(trained.training["renders"])).eval()
    return Portable(trained.net).eval()


@torch.no_grad()
def greatest_difference(trained: Trained, restored: Run) -> float:
    """Between what was exported and the denoiser itself, over random pictures of several sizes; above 1, relative."""
    generator = torch.Generator().manual_seed(0)
    denoise = frame_denoise(trained) if trained.kind == "renders" else Denoiser.of(trained, torch.device("cpu"))
    differences = []
    for batch, height, width in SIZES:
        noisy = 2 * torch.rand(batch, trained.channels, height, width, generator=generator) - 0.5
        expected = torch.stack([denoise(picture) for picture in noisy])
        differences.append(float(((restored(noisy) - expected) / (1 + expected.abs())).abs().max()))
    return max(differences)


def frame_denoise(trained: Trained) -> Run:
    """The denoiser of renders, of buffers (C, H, W) that are stacked and exposed already."""
    frames = FrameDenoiser.of(trained, device=torch.device("cpu"))
    names = ["color", *frames.renders.buffers]
    widths = [3, *(AUXILIARY[name] for name in frames.renders.buffers)]

    def denoise(stacked: Tensor) -> Tensor:
        planes = dict(zip(names, (part.numpy() for part in torch.split(stacked, widths)), strict=True))
        return torch.from_numpy(frames(planes, 1.0))

    return denoise


def read_scores(path: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(path.read_bytes())
        return list(document.get("evaluations", [document]))
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput("scores that cannot be read", path, str(error), "JSON of `n2n evaluate`") from error


if __name__ == "__main__":
    run_verb(main)
