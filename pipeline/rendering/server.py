"""A renderer in a process of its own, for one that asks for frames: a loader's worker, or the training itself.

Loaders fork their workers, which a renderer's threads do not survive. So it is begun afresh, asked over a socket, and
ends when nobody holds the other end any more.
"""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.errors import BadInput
from pipeline.orphans import DEAF_TO, die_with_peer
from pipeline.rendering.frame_files import Samples, seeds
from pipeline.rendering.renderer import Film, Renderer, Variant, Window, load_mitsuba
from pipeline.rendering.scenes import View
from pipeline.sharding.frames import fill

ROOT = Path(__file__).parents[2]  # this very code, wherever the process was begun
BEGIN = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pipeline.rendering.server import main; main()"
THREADS = 2  # the fewest that Mitsuba works with; other workers have the other processors
PATIENCE_S = 500.0  # with a frame: less than ranks have with each other, so that the message is of the cause
VARIANT: Variant = "scalar_rgb"  # at the size of a crop, compiling a room takes longer than rendering it


@dataclass(frozen=True)
class Wanted:
    """A frame to be rendered."""

    view: View
    samples: Samples
    film: Film
    window: Window


@dataclass(frozen=True)
class Rendered:
    """The window's buffers of each realisation, (C, side, side), and the exposure of the whole film."""

    exposure: float
    realisations: list[dict[str, NDArray[Any]]]


class RenderServer:
    """Frames, made elsewhere. Of a fork, each side asks a renderer of its own."""

    def __init__(self) -> None:
        self._owner = 0
        self._pipe: Connection
        self._process: subprocess.Popen[bytes]

    def render(self, wanted: Wanted) -> Rendered:
        """Raises BadInput where the scene cannot be rendered, or the renderer ends or never answers."""
        if self._owner != os.getpid():
            self._start()
        try:
            self._pipe.send(wanted)
            answered = self._pipe.poll(PATIENCE_S)
            answer: Rendered | BadInput | None = self._pipe.recv() if answered else None
        except (EOFError, OSError) as error:
            raise BadInput("the renderer ended", wanted.view.name, self._end()) from error
        if answer is None:
            self.close()
            raise BadInput("the renderer does not answer", wanted.view.name, f"nothing for {PATIENCE_S:.0f} s")
        if isinstance(answer, BadInput):
            raise answer
        return answer

    def close(self) -> None:
        """End this process's renderer, which holds nothing that could be lost; the next frame begins another."""
        if self._owner == os.getpid():
            self._pipe.close()
            self._process.kill()
            self._process.wait()
            self._owner = 0

    def __del__(self) -> None:
        self.close()

    def _start(self) -> None:
        if self._owner:
            self._pipe.close()  # that of the process from which this one was forked
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", BEGIN, str(theirs.fileno())]
            # Blocked until it ignores them: a stop of all workers would otherwise end it while it starts.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, DEAF_TO)
            try:
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._pipe, self._owner = Connection(ours.detach()), os.getpid()

    def _end(self) -> str:
        """How the renderer ended, said when its socket is closed."""
        process = self._process
        self.close()
        code = process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"process {process.pid} {how}; what it said, if anything, is above"

    def __getstate__(self) -> dict[str, Any]:
        return {"_owner": 0}


def serve(pipe: Connection) -> None:
    """Answer until nobody is left to ask; signals of a job's scheduler are for the one who trains."""
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, DEAF_TO)
    die_with_peer(pipe.fileno())
    mitsuba: Any = None
    loaded: dict[Path, Any] = {}
    while True:
        try:
            wanted: Wanted = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Rendered | BadInput
        try:
            mitsuba = mitsuba or load_mitsuba(VARIANT, THREADS)
            answer = rendered(mitsuba, wanted, loaded)
        except BadInput as error:
            answer = error
        except Exception as error:  # of Mitsuba, at what only rendering finds out
            answer = BadInput("a scene that cannot be rendered", wanted.view.scene, " ".join(str(error).split()))
        try:
            pipe.send(answer)
        except OSError:
            return


def rendered(mitsuba: Any, wanted: Wanted, loaded: dict[Path, Any]) -> Rendered:
    renderer = Renderer(mitsuba, wanted.view, wanted.film, wanted.window, loaded)
    numbers = seeds(wanted.view, wanted.samples, wanted.film)[: wanted.samples.realisations]
    frames: list[dict[str, NDArray[Any]]] = [{**renderer.render(wanted.samples.spp, number)} for number in numbers]
    for buffers in frames:
        fill(buffers, f"{wanted.view.scene}, view {wanted.view.name}")
    return Rendered(renderer.exposure(), frames)


def main() -> None:
    """In the process that a RenderServer has begun, which says the number of its socket."""
    serve(Connection(int(sys.argv[1])))
