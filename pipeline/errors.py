"""What a user, a file or a disk can get wrong: one message, exit code 2, no traceback."""

import errno
import sys
from collections.abc import Callable

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# EFBIG is what a file size limit (ulimit -f) answers; the cure is the user's in every case.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
DISK_ERRORS |= {errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class BadInput(Exception):  # noqa: N818  # it is not an error of ours
    """A named fault in the input: what is wrong, where, what was got and wanted, and what to do about it."""

    def __init__(self, what: str, where: object = "", got: str = "", wanted: str = "", todo: str = "") -> None:
        super().__init__(what, str(where), got, wanted, todo)  # as args, so that it can cross processes

    def __str__(self) -> str:
        what, *details = self.args
        labels = ("where", "got", "wanted", "to do")
        lines = [f"\n  {label + ':':8}{text}" for label, text in zip(labels, details, strict=True) if text]
        return what + "".join(lines)


def disk_error(error: OSError, where: object) -> BadInput:
    """An operating system's refusal, as the message its user needs."""
    return BadInput(
        "the disk refused",
        where=where,
        got=error.strerror or str(error),
        wanted="a place with room that this user may read and write",
        todo="free space or permissions there, or choose another place; then run the same command again",
    )


def run_verb(verb: Callable[[], None]) -> None:
    """Run a command; turn bad input into its message and exit code 2, and Ctrl-C into a quiet exit."""
    try:
        verb()
    except BadInput as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        sys.stderr.write(f"error: {disk_error(error, error.filename or 'an output file')}\n")
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; run the same command again to go on\n")
        sys.exit(EXIT_INTERRUPTED)
