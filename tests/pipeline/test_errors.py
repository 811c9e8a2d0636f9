"""Messages and exit codes."""

import errno
import pickle

import pytest

from pipeline.errors import BadInput, run_verb


def fail(error: BaseException) -> None:
    raise error


def test_a_message_says_what_where_got_wanted_and_what_to_do() -> None:
    text = str(BadInput("a fault", "there", "this", "that", "mend it"))
    assert text == "a fault\n  where:  there\n  got:    this\n  wanted: that\n  to do:  mend it"
    assert str(BadInput("a fault", todo="mend it")) == "a fault\n  to do:  mend it"


def test_bad_input_crosses_processes() -> None:
    error = BadInput("a fault", "there", "this", "that", "mend it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_bad_input_ends_with_its_message_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_verb(lambda: fail(BadInput("a fault", "there")))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: a fault\n  where:  there\n"


def test_a_full_disk_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_verb(lambda: fail(OSError(errno.ENOSPC, "No space left on device", "a/file")))
    assert stopped.value.code == 2
    assert "a/file" in capsys.readouterr().err


def test_our_own_faults_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_verb(lambda: fail(ZeroDivisionError()))


def test_ctrl_c_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_verb(lambda: fail(KeyboardInterrupt()))
    assert stopped.value.code == 130
    assert "same command" in capsys.readouterr().err
