"""What goes wrong between here and a store elsewhere: what passes is tried again, all else becomes one message."""

import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import BadInput

TRIES = 6
GS_TRIES = 2  # of six each that gcsfs makes by itself, with pauses up to half a minute
WAIT_S = 0.5  # before the second try; doubled for each after it, and shortened by chance, so that clients do not march
TOLD_S = 2  # a shorter wait is not worth a line
FORBIDDEN = ("AccessDenied", "AllAccessDisabled", "403")  # of the object; other refusals are of the account
BRIEFLY = (408, 425, 429)  # refusals that pass, as do all from 500 on
LIBRARIES = ("aiohttp", "aiobotocore", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs", "urllib3")

CREDENTIALS = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket FSSPEC_S3_ANON=true",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
}
SIGNED = "give an address that needs no login, or a signed one"

Answer = TypeVar("Answer")


class Denied(BadInput):
    """The store knows the user, and does not give out what is at this address.

    A picture that is denied is left out, as one without permission on a disk. An account that has expired is no
    property of the picture: it stops the run, or a set would have other bytes for it.
    """


class TryAgain(Exception):  # noqa: N818  # not an error yet
    """This try has failed; another may not."""


def ask(where: str, question: Callable[[], Answer]) -> Answer:
    """The answer of a store, asked again with growing pauses where the connection or the store fails for a moment.

    Raises FileNotFoundError where there is nothing at the address, Denied, or BadInput.
    """
    tries = GS_TRIES if where.startswith("gs:") else TRIES
    for attempt in range(1, tries + 1):
        try:
            return question()
        except (FileNotFoundError, BadInput):
            raise
        except Exception as error:
            if type(error).__name__.startswith("NoSuch"):  # as botocore calls it where s3fs does not translate
                raise FileNotFoundError(said(error)) from error
            if not passes(error, where):
                raise
            if attempt == tries:
                raise gave_up(error, where, tries) from error
            wait_s = WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            if wait_s >= TOLD_S:
                sys.stderr.write(f"{where}: {said(error)}; trying again in {wait_s:.0f} s\n")
            time.sleep(wait_s)
    raise AssertionError


def passes(error: Exception, where: str) -> bool:
    """Whether another try may bring it; False for faults of our own. Raises BadInput where no try will."""
    todo, status = CREDENTIALS.get(where.partition(":")[0], SIGNED), status_of(error)
    if "Credentials" in type(error).__name__:
        raise BadInput("no credentials", where, said(error), "an account that may use it", todo)
    if isinstance(error, PermissionError) or status in (401, 403):
        kind = Denied if status == 403 or code_of(error) in FORBIDDEN else BadInput
        raise kind("access denied", where, said(error), "an account that may use it", todo)
    if status is not None and 400 <= status < 500 and status not in BRIEFLY:
        raise BadInput("the store refuses", where, said(error), "an address that it serves", "check the address")
    known = isinstance(error, (OSError, TryAgain))
    return known or type(error).__module__.partition(".")[0] in LIBRARIES


def code_of(error: Exception) -> str:
    """What S3 calls the error that s3fs has translated."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def status_of(error: Exception) -> int | None:
    """The HTTP status that an error of aiohttp or gcsfs carries."""
    for name in ("status", "code"):
        value = getattr(error, name, None)
        if str(value).isdecimal():
            return int(str(value))
    return None


def gave_up(error: Exception, where: str, tries: int) -> BadInput:
    return BadInput(
        "the store cannot be reached, or keeps failing",
        where,
        f"{said(error)}, after {tries} tries",
        "a network and a store that answer (http_proxy, https_proxy, no_proxy and AWS_ENDPOINT_URL are honoured)",
        "check the address and the network, and run the same command again: it goes on",
    )


def said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
