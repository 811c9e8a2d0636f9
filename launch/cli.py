"""The console script n2n: every verb of the project under one name."""

import importlib
import sys

from pipeline.errors import EXIT_BAD_INPUT, run_verb

VERBS = {
    "dead-leaves": ("pipeline.dead_leaves", "generate pictures to train on, where there are none"),
    "phantom": ("pipeline.phantom", "generate greyscale slices of heads that nobody has, for mri"),
    "fetch": ("pipeline.fetch", "download a public set of pictures, such as coco-val2017"),
    "render": ("pipeline.render", "scenes -> noisy OpenEXR renders to train on, and references"),
    "shard": ("pipeline.shard", "pictures -> shards"),
    "inspect": ("pipeline.inspect", "what is in these shards; verify them; draw the pair that training sees"),
    "train": ("launch.train", "shards -> a denoiser (torchrun -m launch.train for several processes)"),
    "evaluate": ("launch.evaluate", "PSNR and SSIM on clean pictures under test noise"),
    "denoise": ("launch.denoise", "noisy pictures -> denoised pictures"),
    "models": ("launch.models", "the weights that come with the project"),
    "export": ("launch.export", "a denoiser for other programs: ONNX, torch.export, safetensors"),
    "plot": ("launch.plot", "the curves of runs over each other, as a picture"),
    "results": ("launch.results", "the table of what `make results` trained"),
    "bench": ("launch.bench", "how fast the loader and the training step are here"),
}


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in VERBS:
        asked_for_help = bool(arguments) and arguments[0] in ("-h", "--help")
        usage = "\n".join(f"  n2n {verb:12} {purpose}" for verb, (_, purpose) in VERBS.items())
        stream = sys.stdout if asked_for_help else sys.stderr
        stream.write(f"usage: n2n VERB ...\n\n{usage}\n\nn2n VERB --help says more.\n")
        sys.exit(0 if asked_for_help else EXIT_BAD_INPUT)
    verb = importlib.import_module(VERBS[arguments[0]][0])
    run_verb(lambda: verb.main(arguments[1:]))


if __name__ == "__main__":
    main()
