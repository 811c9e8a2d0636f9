"""Verbs in processes of their own that need not import torch again, as they are forked from one that has.

A fresh interpreter takes two to three seconds to import what a verb imports, which was half of the suite's time. The
forked process differs from `python -m MODULE` in nothing that a verb can see: its own arguments, folder, environment,
signals, standard streams and exit. Tests that kill, signal or time a start still begin a fresh one.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

PRELOADED = ("launch.train", "launch.evaluate", "launch.denoise", "launch.cli", "pipeline.inspect")


class VerbServer:
    """The process that has imported everything; ended with the one that started it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.at_load = read_at_load(environment)
        command = [sys.executable, "-m", "tests.forked_verbs"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, bufsize=0)

    def run(
        self, module: str, arguments: list[str], cwd: Path, environment: dict[str, str], timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        """As subprocess.run of `python -m MODULE ARGUMENTS...` with its output captured."""
        command = [sys.executable, "-m", module, *arguments]
        if read_at_load(environment) != self.at_load:
            return subprocess.run(
                command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
            )
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            order = {"module": module, "arguments": arguments, "cwd": str(cwd), "environment": environment}
            self._tell({**order, "out": str(out), "err": str(err)})
            child = self._answer(timeout)
            code = self._answer(timeout) if child else None
            if child and code is None:
                os.kill(child, signal.SIGKILL)
                self._answer(timeout)
            if child is None or code is None:
                raise subprocess.TimeoutExpired(command, timeout, out.read_bytes(), err.read_bytes())
            return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _tell(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    def _answer(self, timeout: float) -> int | None:
        """The next number that the process writes; None if none comes in time."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            return None
        line = self.process.stdout.readline()
        assert line, "the process that verbs are forked from has ended"
        return int(line)


def read_at_load(environment: dict[str, str]) -> dict[str, str]:
    """The variables that Python and the libraries look at once, as they start."""
    return {name: environment[name] for name in environment if name.startswith(("OMP_", "MKL_", "PYTHON", "CUDA_"))}


def serve() -> None:
    """Read orders, fork, answer with the process's number and then its exit code."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # or the first collection in a forked process would touch, and so copy, everything
    answers = os.dup(1)
    while line := read_line(0):
        order = json.loads(line)
        child = os.fork()
        if not child:
            os.close(answers)
            become(order)
        os.write(answers, b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(status))


def read_line(descriptor: int) -> bytes:
    """Without a buffer, of which a forked process would inherit the rest."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return line


def become(order: dict[str, object]) -> None:
    """Be what the order asks for, to the end of this process."""
    opened = [os.open(os.devnull, os.O_RDONLY)]
    opened += [os.open(str(order[name]), os.O_WRONLY | os.O_CREAT, 0o600) for name in ("out", "err")]
    for standard, descriptor in enumerate(opened):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[arg-type]
    os.chdir(str(order["cwd"]))
    sys.path[0] = str(order["cwd"])
    sys.argv[1:] = order["arguments"]  # type: ignore[assignment]
    code = 1
    try:
        runpy.run_module(str(order["module"]), run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as request:
        code = exit_code(request.code)
    except BaseException:  # as an interpreter does that has nothing above it
        traceback.print_exc()
    leave(code)


def exit_code(asked: object) -> int:
    """What an interpreter makes of the argument of sys.exit."""
    if asked is None or isinstance(asked, int):
        return asked or 0
    sys.stderr.write(f"{asked}\n")
    return 1


def leave(code: int) -> None:
    """As an interpreter ends, but for the half second of taking apart what nobody will use."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
