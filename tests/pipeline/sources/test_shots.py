"""Which files are shots of the same thing, in every layout."""

from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.sources.shots import ScenesConfig, list_scenes


def touch(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return str(folder)


def listed(sources: list[str], **options: object) -> dict[str, tuple[list[str], list[str]]]:
    listing = list_scenes(sources, ScenesConfig(**options))  # type: ignore[arg-type]
    return {s.title: ([f.name for f in s.files], [f.name for f in s.references]) for s in listing.scenes}


def test_a_folder_a_scene(tmp_path: Path) -> None:
    source = touch(tmp_path, "a/2.png", "a/1.png", "a/GT.png", "b/c/x.tif", "b/c/y.tif", "b/c/notes.txt", "a/.z.png")
    assert listed([source], layout="folders") == {"a": (["1", "2"], ["GT"]), "b/c": (["x", "y"], [])}


def test_parallel_folders_are_matched_by_name(tmp_path: Path) -> None:
    first = touch(tmp_path / "night1", "a.png", "sub/b.png", "only.png")
    second = touch(tmp_path / "night2", "a.tif", "sub/b.png")
    clean = touch(tmp_path / "clean", "a.png")
    assert listed([first, second, clean], layout="parallel") == {
        "a": (["night1", "night2"], ["clean"]),
        "only": (["night1"], []),
        "sub/b": (["night1", "night2"], []),
    }


def test_a_pattern_names_scene_and_shot(tmp_path: Path) -> None:
    source = touch(tmp_path, "s1_t0.png", "s1_t1.png", "s2_t0.png", "s2_t1.png", "s1_tref.png", "readme.png")
    config = ScenesConfig(layout="pattern", pattern=r"(?P<scene>s\d+)_t(?P<shot>\w+)", references=("ref",))
    listing = list_scenes([source], config)
    assert [(s.title, len(s.files), len(s.references)) for s in listing.scenes] == [("s1", 2, 1), ("s2", 2, 0)]
    assert [(entry.source, entry.kind) for entry in listing.left_out] == [("readme.png", "unpaired")]


def test_stacks_are_scenes_of_their_own(tmp_path: Path) -> None:
    assert list(listed([touch(tmp_path, "a.tif", "b/c.npy")], layout="stacks")) == ["a", "b/c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "pattern"}, "go together"),
        ({"layout": "folders", "pattern": "x"}, "go together"),
        ({"layout": "pattern", "pattern": "("}, "no regular expression"),
        ({"layout": "pattern", "pattern": "(?P<scene>.)"}, "lacks a group"),
    ],
)
def test_unfit_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ScenesConfig(**options)  # type: ignore[arg-type]


def test_unfit_sources_are_refused(tmp_path: Path) -> None:
    source = touch(tmp_path / "one", "a.png")
    for sources, layout, message in (
        ([source], "parallel", "two or more"),
        ([str(tmp_path / "none")], "folders", "from folders"),
        ([source, source], "parallel", "twice"),
        ([touch(tmp_path / "empty", "a.txt")], "folders", "no scenes"),
    ):
        with pytest.raises(BadInput, match=message):
            list_scenes(sources, ScenesConfig(layout=layout))  # type: ignore[arg-type]
