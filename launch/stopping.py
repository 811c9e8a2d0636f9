"""Leaving on request: SIGTERM and SIGUSR1, as schedulers send them before they take a machine back; and Ctrl-C."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Notes a signal to this process."""

    def __init__(self) -> None:
        self.signal = 0
        self._interrupted = False
        for number in SIGNALS:
            signal.signal(number, self._note)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job is deaf to it
            signal.signal(signal.SIGINT, self._interrupt)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number  # a handler may interrupt anything, so it does no more than this

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def asked(self) -> int:
        """The number of the signal that has come, 0 while there is none.

        Raises KeyboardInterrupt where Ctrl-C has come and its exception has been lost: Python drops one that happens
        to be raised while an object is taken apart.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        return self.signal


def name_of(number: int) -> str:
    """SIGTERM for 15; empty for 0."""
    return signal.Signals(number).name if number else ""
