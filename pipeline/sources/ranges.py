"""Parts of a file, here or elsewhere."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tqdm import tqdm

from pipeline.remote.place import Place, Remote

Pread = Callable[[int, int], bytes]
"""Of a size and an offset, as os.pread: fewer bytes where the file ends before."""


@contextmanager
def opened(path: Place) -> Iterator[tuple[Pread, int]]:
    """A file to be gone through once from its beginning, and its length. Elsewhere it is read in large pieces."""
    if isinstance(path, Remote):
        with path.open() as file, tqdm(desc=path.name, unit="B", unit_scale=True, disable=None) as bar:
            bar.total = file.seek(0, os.SEEK_END)

            def pread(size: int, offset: int) -> bytes:
                bar.update(max(0, offset - bar.n))
                file.seek(offset)
                return file.read(size)

            yield pread, int(bar.total)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield partial(os.pread, descriptor), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
