"""Frames dealt out to processes of a renderer, and what becomes of those that fail.

A process of its own even where there is one: an LLVM that Mitsuba cannot use ends the process without an exception
(those older than 19 do), and only another can say so.
"""

import importlib.metadata
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.atomic import write_whole
from pipeline.errors import BadInput
from pipeline.orphans import die_with_parent
from pipeline.rendering.frame_files import Layout, Open, Samples, render_frame
from pipeline.rendering.renderer import Film, Renderer, Variant, load_mitsuba
from pipeline.rendering.scenes import View
from pipeline.rendering.tungsten import TungstenRenderer, fingerprint

SAYS = "render.json"
GENERATION = 2  # of rooms and of cameras: the same options and another generation are other frames
LLVM = "apt install libllvm19 (Mitsuba ends with an older one), or --variant scalar_rgb, which needs none"

_mitsuba: Any = None  # of this process, from the first frame that wants it
_threads = 1


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Everything that decides the bytes of a run's files."""

    seed: int = 0
    variant: Variant | None = "scalar_rgb"
    """Of Mitsuba; None where no view is Mitsuba's."""
    tungsten: Path | None = None
    """The program, where a view is Tungsten's."""
    samples: Samples = field(default_factory=Samples)
    film: Film = field(default_factory=Film)
    layout: Layout = "layers"


def claim(out: Path, config: RenderConfig) -> None:
    """Write down what is rendered here. Raises BadInput where something else was: files of both would be mixed."""
    out.mkdir(parents=True, exist_ok=True)
    said = {**asdict(config), "generation": GENERATION}
    del said["tungsten"]  # where it lies does not matter
    if config.variant:
        said["mitsuba"] = version()
    if config.tungsten:
        said["tungsten"] = fingerprint(config.tungsten)
    path = out / SAYS
    if not path.exists():
        with write_whole(path) as file:
            file.write(json.dumps(said, indent=1).encode() + b"\n")
        return
    try:
        before = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadInput("not the account of a rendering", path, str(error), todo="render into another folder") from error
    if before != said:
        changed = sorted(name for name in {*before, *said} if before.get(name) != said.get(name))
        got = "; ".join(f"{name}: {before.get(name)} -> {said.get(name)}" for name in changed)
        wanted = "the options that it was begun with"
        raise BadInput("this folder was rendered otherwise", out, got, wanted, "restore them, or name another --out")


def version() -> str:
    try:
        return importlib.metadata.version("mitsuba")
    except importlib.metadata.PackageNotFoundError as error:
        todo = "install the extra: pip install -e '.[render]'"
        raise BadInput("the renderer is not installed", "n2n render", "no mitsuba", "mitsuba", todo) from error


def render_views(views: Sequence[View], config: RenderConfig, out: Path, workers: int) -> Iterator[tuple[View, int]]:
    """Each view when it is done, and how many files were made for it, in whatever order.

    Raises BadInput where a scene cannot be rendered; frames that are done stay.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    context = multiprocessing.get_context("spawn")
    # A few hundred frames a process: what the renderer's compiler keeps of every scene is not given back.
    pool = ProcessPoolExecutor(workers, context, start_worker, (threads,), max_tasks_per_child=200)
    with pool:
        waiting = {pool.submit(render_one, view, config, out): view for view in views}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            got = "a process of the renderer died; what it said is above"
            raise BadInput("the renderer ended", f"--variant {config.variant}", got, todo=LLVM) from error
        finally:
            for future in waiting:
                future.cancel()


def start_worker(threads: int) -> None:
    global _threads
    die_with_parent()
    _threads = threads


def render_one(view: View, config: RenderConfig, out: Path) -> int:
    note = {"scene": str(getattr(view.scene, "name", view.scene))}
    open_view: Open
    if view.by_tungsten:
        assert config.tungsten
        open_view = partial(TungstenRenderer, config.tungsten, threads=_threads)
        note["renderer"] = f"tungsten {fingerprint(config.tungsten)}"
    else:
        assert config.variant
        mitsuba = loaded_mitsuba(config.variant)
        open_view = partial(Renderer, mitsuba)
        note |= {"renderer": f"mitsuba {mitsuba.__version__}", "variant": config.variant}
    return render_frame(view, config.samples, config.film, open_view, out, note, config.layout)


def loaded_mitsuba(variant: Variant) -> Any:
    """Once a process. What is wrong with it is said by a frame: of a process that fails as it starts, nobody learns."""
    global _mitsuba
    _mitsuba = _mitsuba or load_mitsuba(variant, _threads)
    return _mitsuba


def best_variant() -> Variant:
    """LLVM where a frame can be rendered with it, which is several times as fast; else without."""
    process = multiprocessing.get_context("spawn").Process(target=probe, args=("llvm_ad_rgb",))
    process.start()
    process.join()
    return "llvm_ad_rgb" if process.exitcode == 0 else "scalar_rgb"


def probe(variant: Variant) -> None:
    """Ends with 0 where a small frame was rendered; in silence where it was not."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    mitsuba = load_mitsuba(variant, 2)
    mitsuba.render(mitsuba.load_dict(mitsuba.cornell_box()), spp=1, seed=1).numpy()
