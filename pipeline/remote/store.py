"""The libraries behind addresses: which there are, how they are set up, and what an HTTP server can do."""

import http
import logging
import os
from functools import cache, lru_cache
from typing import Any

from pipeline.errors import BadInput
from pipeline.remote.errors import ask

GONE = (404, 410)
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp"}


def store(protocol: str) -> Any:
    """The file system of a kind of address, in this process. Raises BadInput where its package is not installed.

    A forked process opens its own, as fsspec's thread does not come along. It keeps the other's and does not close
    it: sockets and the selector under them are still those of the process before.
    """
    return store_of(os.getpid(), protocol)


def store_that_tries_once() -> Any:
    """S3 for sending files, which s3fs would send again from where the try before has left them."""
    found = store_of(os.getpid(), "s3", once=True)
    found.retries = 1
    return found


@cache
def store_of(process: int, protocol: str, once: bool = False) -> Any:
    try:
        import fsspec

        if protocol == "s3":
            # No listing is remembered: other machines write, too. Patience is ours, not botocore's on top of it.
            config = {"connect_timeout": 10, "retries": {"total_max_attempts": 1}}
            return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=config, skip_instance_cache=once)
        if protocol == "gs":
            from gcsfs.core import GCSFileSystem  # itself, not what asks first what kind of bucket it is

            logging.getLogger("gcsfs").setLevel(logging.CRITICAL + 1)  # it logs a traceback a failure; we say it once
            return GCSFileSystem(use_listings_cache=False)
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        client = {"trust_env": True, "timeout": timeout}  # proxies as everywhere; minutes are no fault, silence is
        headers = {"Accept-Encoding": "identity"}  # so that places are those of the file
        return fsspec.filesystem("http", client_kwargs=client, headers=headers, encoded=True)
    except ImportError as error:
        raise BadInput(
            f"{protocol}:// needs a package that is not installed",
            where=f"{protocol}://",
            got=str(error),
            wanted=PACKAGES[protocol],
            todo="pip install -e '.[remote]'",
        ) from error


@lru_cache(1024)
def sends_ranges(url: str) -> bool:
    """Whether a web server sends parts of files, or the whole file whatever part is asked for."""
    return ask(url, lambda: _sends_ranges(url))


def require_ranges(url: str) -> None:
    """Raise BadInput where it does not."""
    if not sends_ranges(url):
        raise BadInput(
            "the server sends no parts of files",
            url,
            "all of the file where one byte was asked for",
            "a server that does, for an archive",
            "download the archive first, and shard the file",
        )


def _sends_ranges(url: str) -> bool:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"Range": "bytes=0-0", "User-Agent": "n2n"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == http.HTTPStatus.PARTIAL_CONTENT)
    except urllib.error.HTTPError as error:
        if error.code in GONE:
            raise FileNotFoundError(url) from error
        raise
