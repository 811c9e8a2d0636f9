"""Which frames a run has, and what they are named and seeded."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadInput
from pipeline.rendering.frame_files import Samples, seeds
from pipeline.rendering.renderer import Film
from pipeline.rendering.scenes import list_views
from pipeline.sources.render_names import by_name


def test_every_view_has_a_name_that_sharding_understands(tmp_path: Path) -> None:
    for name in ("kitchen_a.xml", "0008spp.xml", "b.1.xml"):
        (tmp_path / name).touch()
    views = list_views([tmp_path / "kitchen_a.xml", tmp_path / "0008spp.xml", tmp_path / "b.1.xml"], 2, 3, 7)
    assert len({view.name for view in views}) == len(views) == 15
    for view in views:
        path = tmp_path / f"{view.name}_seed12_0008spp.exr"
        path.touch()
        said = by_name(path, "", path.stem)
        assert (said.frame, said.seed, said.spp, said.realisation) == (view.name, 12, 8, "")
        path = tmp_path / f"{view.name}_ref_2048spp.exr"
        path.touch()
        said = by_name(path, "", path.stem)
        assert (said.frame, said.reference) == (view.name, True)


def test_what_is_no_scene_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("scene.txt", "x.xml", "a/x.xml"):
        (tmp_path / name).touch()
    for path in ("scene.txt", "none.xml", "a"):
        with pytest.raises(BadInput, match="not a scene"):
            list_views([tmp_path / path], 0, 1, 0)
    with pytest.raises(BadInput, match="two scenes of one name"):
        list_views([tmp_path / "x.xml", tmp_path / "a/x.xml"], 0, 1, 0)


def test_rooms_are_shared_by_views_and_differ_by_seed() -> None:
    first, second = list_views([], 1, 2, 0)
    other = list_views([], 1, 1, 1)[0]
    draw = [view.generator("room").random() for view in (first, second, other)]
    assert draw[0] == draw[1] != draw[2]
    assert first.generator("camera").random() != second.generator("camera").random()
    assert first.generator("camera").random() == first.generator("camera").random()


def test_the_renders_of_a_frame_have_seeds_of_their_own() -> None:
    """Also where Mitsuba's scalar variants multiply them by the number of pixels in 32 bits."""
    film = Film(width=256, height=256)
    for view in list_views([], 50, 2, 3):
        numbers = seeds(view, Samples(realisations=4, spp=8, reference_spp=2048), film)
        assert len(numbers) == 4 + 8
        assert len({number * 65536 % 2**32 for number in numbers}) == len(numbers)
        assert 0 <= min(numbers) <= max(numbers) < 2**32
    with pytest.raises(BadInput, match="more renders than seeds"):
        seeds(list_views([], 1, 1, 0)[0], Samples(realisations=8), Film(width=30_000, height=30_000))


@pytest.mark.parametrize(
    ("spp", "chunks"), [(2048, (8, 256)), (1000, (8, 125)), (4096, (16, 256)), (7, (7, 1)), (9, (9, 1))]
)
def test_a_reference_is_rendered_in_equal_chunks(spp: int, chunks: tuple[int, int]) -> None:
    assert Samples(reference_spp=spp).chunks() == chunks
    assert np.prod(chunks) == spp
