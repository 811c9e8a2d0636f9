"""Verb: scenes -> noisy OpenEXR renders with albedo, normal and depth, several of each frame, and references.

Scenes are files of Mitsuba's or Tungsten's, or rooms generated from a seed. `n2n shard --renders` takes the folder as
it is. Killed and started again, it goes on where it was, to the same bytes.
"""

import argparse
from pathlib import Path
from typing import cast, get_args

from tqdm import tqdm

from pipeline.errors import BadInput, run_verb
from pipeline.rendering.farm import RenderConfig, best_variant, claim, render_views
from pipeline.rendering.frame_files import Layout, Samples, stems
from pipeline.rendering.renderer import Film, Filter, Variant
from pipeline.rendering.scenes import View, list_views
from pipeline.rendering.tungsten import find_program
from pipeline.sharding.part import Part

AT_LEAST = {"rooms": 0, "views": 1, "realisations": 1, "spp": 1, "reference_spp": 0, "workers": 1, "max_depth": 2}
AT_MOST_SEED = 2**63 - 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="n2n render", description="Render noisy frames to train on.")
    parser.add_argument("scene", nargs="*", type=Path, help="Mitsuba scenes, *.xml, and Tungsten's, *.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for the EXR files")
    parser.add_argument("--rooms", type=int, default=0, help="how many generated interiors (default: 0)")
    parser.add_argument("--views", type=int, default=1, help="cameras of each scene (default: 1, its own)")
    parser.add_argument("--realisations", type=int, default=2, help="noisy renders of each view (default: 2)")
    parser.add_argument("--spp", type=int, default=8, help="samples per pixel of each (default: 8)")
    parser.add_argument("--reference-spp", type=int, default=0, help="of a reference; 0 for none (default: 0)")
    parser.add_argument("--size", default="256x256", help="WIDTHxHEIGHT in pixels (default: 256x256)")
    parser.add_argument("--filter", choices=get_args(Filter), default="box", help="of pixels (default: box)")
    parser.add_argument("--max-depth", type=int, default=8, help="segments of a path in generated rooms (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other rooms, cameras and noise (default: 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes, which share the processors (default: 1)")
    parser.add_argument("--part", default="0/1", help="I/N: only every Nth view from I on, for N machines")
    layouts = "one file a render with layers, or one a buffer as in Open Image Denoise's training (default: layers)"
    parser.add_argument("--layout", choices=get_args(Layout), default="layers", help=layouts)
    variants = ("auto", *get_args(Variant))
    parser.add_argument("--variant", choices=variants, default="auto", help="of Mitsuba (default: what works here)")
    parser.add_argument("--tungsten", default="", metavar="PROGRAM", help="for *.json (default: tungsten on PATH)")
    options = parser.parse_args(arguments)
    for name, least in AT_LEAST.items():
        if getattr(options, name) < least:
            got = f"--{name.replace('_', '-')} {getattr(options, name)}"
            raise BadInput("an impossible option", "the command line", got, f"at least {least}")
    if not 0 <= options.seed <= AT_MOST_SEED:
        raise BadInput("an impossible seed", "the command line", f"--seed {options.seed}", "0 to 2^63 - 1")
    if not options.scene and not options.rooms:
        raise BadInput("nothing to render", "the command line", "no scene", "scenes, or --rooms for generated ones")
    return options


def parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise BadInput("not a size", "the command line", f"--size {text}", "WIDTHxHEIGHT, such as 256x256")
    return int(width), int(height)


def chosen_renderers(views: list[View], program: str, variant: str) -> tuple[Path | None, Variant | None]:
    """Tungsten's program and Mitsuba's variant, each where some view is its. Raises BadInput where one is not there."""
    theirs = any(view.by_tungsten for view in views)
    if program and not theirs:
        raise BadInput("no scene is Tungsten's", "the command line", f"--tungsten {program}", "a scene *.json with it")
    tungsten = find_program(program) if theirs else None
    if all(view.by_tungsten for view in views):
        return tungsten, None
    return tungsten, best_variant() if variant == "auto" else cast(Variant, variant)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    width, height = parse_size(options.size)
    part = Part.parse(options.part)
    views = list_views(options.scene, options.rooms, options.views, options.seed)
    tungsten, variant = chosen_renderers(views, options.tungsten, options.variant)
    config = RenderConfig(
        seed=options.seed,
        variant=variant,
        tungsten=tungsten,
        samples=Samples(realisations=options.realisations, spp=options.spp, reference_spp=options.reference_spp),
        film=Film(width=width, height=height, max_depth=options.max_depth, filter=options.filter),
        layout=options.layout,
    )
    stems(views[0], config.samples, config.film, config.layout)  # possible, or a message before anything is written
    claim(options.out, config)
    mine = [views[number] for number in part.shards(len(views))]
    made = 0
    with tqdm(total=len(mine), desc="render", unit="frame", disable=None) as progress:
        for _, files in render_views(mine, config, options.out, options.workers):
            made += files
            progress.update()
    used = " and ".join(filter(None, (config.variant, "tungsten" if tungsten else "")))
    print(f"{len(mine)} frames in {options.out}, {made} renders of them made now, with {used}")


if __name__ == "__main__":
    run_verb(main)
