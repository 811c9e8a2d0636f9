"""A file here becomes an object elsewhere: out of the file as it goes, whole or not at all, and compared."""

import base64
import hashlib
import os
from typing import Any, BinaryIO

from pipeline.errors import BadInput
from pipeline.remote.errors import TryAgain, ask
from pipeline.remote.store import store, store_that_tries_once

PIECE = 1 << 23  # bytes that are sent, or read back, at a time
AT_ONCE = 5 * 10**9  # bytes that S3 takes in one request, which leaves nothing behind when killed; more goes in parts
PARTS = 10_000  # that S3 takes at most


def send(file: BinaryIO, url: str) -> None:
    """Put an object there, and make sure that it is what was sent. Raises BadInput where there is no bucket.

    Memory does not grow with the file. The object has its name when its last byte has arrived.
    """

    def attempt() -> None:
        file.seek(0)
        put(file, url)
        compare(file, url)

    try:
        ask(url, attempt)
    except FileNotFoundError as error:
        todo = "create the bucket, or choose another --out"
        raise BadInput("no such bucket", url, str(error), "a bucket that exists", todo) from error


def put(file: BinaryIO, url: str) -> None:
    protocol, size = url.partition("://")[0], size_of(file)
    if protocol == "s3" and size <= AT_ONCE:  # what s3fs itself would send so, it would read whole
        files = store_that_tries_once()
        bucket, key, _ = files.split_path(url)
        files.call_s3("put_object", Bucket=bucket, Key=key, Body=file)
        return
    options: dict[str, Any] = {"chunksize": PIECE}
    if protocol == "s3":
        options = {"chunksize": max(PIECE, -(-size // PARTS)), "max_concurrency": 4}
    store(protocol).put_file(f"/dev/fd/{file.fileno()}", url, **options)


def compare(file: BinaryIO, url: str) -> None:
    """Raise TryAgain where the store holds something else: by its own checksum, or else by reading it back."""
    files, size = store(url.partition("://")[0]), size_of(file)
    info = files.info(url)
    if info["size"] != size:
        raise TryAgain(f"the store holds {info['size']:,} of {size:,} bytes")
    file.seek(0)
    md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))  # type: ignore[arg-type]
    # An ETag is the MD5 unless it was sent in parts, or is encrypted with a key of the user's.
    if md5.hexdigest() == str(info.get("ETag")).strip('"'):
        return
    if base64.b64encode(md5.digest()).decode() == info.get("md5Hash"):
        return
    file.seek(0)
    for start in range(0, size, PIECE):
        if files.cat_file(url, start=start, end=min(start + PIECE, size)) != file.read(PIECE):
            raise TryAgain("the store holds other bytes than were sent")


def size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
