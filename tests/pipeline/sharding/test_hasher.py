"""Another process hashes as this one does, and neither outlives the other unnoticed."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.sharding.hasher import HasherAside, HasherHere, Piece


def asked(hasher: HasherHere | HasherAside) -> tuple[list[int], list[int], str, bytes]:
    first, second = (hasher.slots[number % len(hasher.slots)] for number in range(2))
    first[:1000] = bytes(range(250)) * 4
    hasher.ask(Piece(0, 1000, [(0, 300, True), (400, 1000, False)], [(0, 300, 310)]))
    checksums, content = hasher.answer(), bytes(first[:1000])
    second[:100] = b"z" * 100
    hasher.ask(Piece(1 % len(hasher.slots), 100, [(0, 50, True), (50, 100, True)], []))
    return checksums, hasher.answer(), hasher.finish(), content


def test_both_say_the_same() -> None:
    aside = HasherAside()
    here = asked(HasherHere())
    assert asked(aside) == here
    aside.close()
    checksums, more, sha256, content = here
    assert content[310:374].decode() == hashlib.sha256(content[:300]).hexdigest()
    assert sha256 == hashlib.sha256(content + b"z" * 100).hexdigest()
    assert checksums == [zlib.crc32(content[:300])]
    assert more == [zlib.crc32(content[400:] + b"z" * 50), zlib.crc32(b"z" * 50)]


def test_one_that_is_killed_is_told() -> None:
    hasher = HasherAside()
    assert hasher._process.pid is not None
    os.kill(hasher._process.pid, signal.SIGKILL)
    with pytest.raises(BadInput, match=r"gone[^$]*ended with -9[^$]*memory"):
        asked(hasher)
    with pytest.raises(BadInput, match="gone"):
        hasher.finish()
    hasher.close()


def test_it_does_not_outlive_who_asks_it(tmp_path: Path) -> None:
    program = (
        "import os, signal; from pipeline.sharding.hasher import HasherAside\n"
        "hasher = HasherAside(); print(hasher._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    process = int(killed.stdout)
    for _ in range(100):
        if not running(process):
            return
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    pytest.fail("it is still there after ten seconds")


def running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
