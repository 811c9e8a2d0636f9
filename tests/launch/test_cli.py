"""The console script."""

from typing import Any

import pytest

from launch.cli import VERBS


def test_every_verb_has_help(run_verb: Any) -> None:
    for verb in VERBS:
        done = run_verb("launch.cli", verb, "--help")
        assert done.returncode == 0, done.stderr
        assert f"n2n {verb}" in done.stdout


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2), (["shrad"], 2)])
def test_the_verbs_are_listed(run_verb: Any, arguments: list[str], code: int) -> None:
    done = run_verb("launch.cli", *arguments)
    assert done.returncode == code
    assert all(verb in done.stdout + done.stderr for verb in VERBS)
