"""Files are grouped into frames by their names; what fits nowhere is listed with the reason."""

from pathlib import Path

import pytest

from pipeline.errors import BadInput
from pipeline.sources.renders import Realisation, Renders, list_renders


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / f"{name}.exr"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def shown(renders: Renders) -> dict[str, list[str]]:
    """Of each frame, the realisations as `name spp: buffers`, the reference last."""

    def line(one: Realisation) -> str:
        return f"{one.name} {one.spp}: {' '.join(file.buffer or '*' for file in one.files)}"

    return {
        frame.name: [*map(line, frame.realisations), *([f"= {line(frame.reference)}"] if frame.reference else [])]
        for frame in renders.frames
    }


def reasons(renders: Renders) -> dict[str, str]:
    return {lost.source: lost.reason for lost in renders.left_out}


def test_oidn_training_files_with_samples_as_numbers(tmp_path: Path) -> None:
    names = [
        f"set/room_{spp}.{word}" for spp in ("0008spp", "00008spp", "64spp", "512spp") for word in ("hdr", "alb", "nrm")
    ]
    renders = list_renders([touch(tmp_path, *names)])
    assert shown(renders) == {
        "set/room": [
            "00008spp 8: albedo color normal",
            "0008spp 8: albedo color normal",
            "64spp 64: albedo color normal",
            "= 512spp 512: albedo color normal",  # by name, 64 comes after 512
        ]
    }
    assert not renders.left_out


def test_oidn_explicit_references(tmp_path: Path) -> None:
    renders = list_renders([touch(tmp_path, "a_8.hdr", "a_08.hdr", "a_ref.hdr")])
    assert shown(renders) == {"a": ["08 8: color", "8 8: color", "= ref None: color"]}


def test_files_of_layers_by_realisation(tmp_path: Path) -> None:
    names = [
        "shot_a_0008spp.0001",
        "shot_b_0008spp.0001",
        "shot_ref_2048spp.0001",
        "shot_a_0008spp.0002",
        "shot_b_0008spp.0002",
    ]
    assert shown(list_renders([touch(tmp_path, *names)])) == {
        "shot.0001": ["a 8: *", "b 8: *", "=  2048: *"],
        "shot.0002": ["a 8: *", "b 8: *"],
    }


def test_altus_pairs_and_seeds(tmp_path: Path) -> None:
    names = [
        "kitchen_b0",
        "kitchen_b1",
        "kitchen_albedo_b0",
        "kitchen_albedo_b1",
        "hall_seed12",
        "hall_seed907",
        "hall_s3",
    ]
    renders = list_renders([touch(tmp_path, *names)])
    assert shown(renders) == {
        "hall": [" None: *"] * 3,
        "kitchen": ["b0 None: * albedo", "b1 None: * albedo"],
    }
    assert [one.seed for one in renders.frames[0].realisations] == [3, 12, 907]


def test_half_buffers_and_the_whole_render_beside_them(tmp_path: Path) -> None:
    names = [
        "sofa/color",
        "sofa/colorA",
        "sofa/colorB",
        "sofa/albedo",
        "sofa/albedoA",
        "sofa/albedoB",
        "sofa/colorVariance",
    ]
    renders = list_renders([touch(tmp_path, *names)])
    assert shown(renders) == {"sofa/sofa": ["A None: albedo color", "B None: albedo color"]}
    assert reasons(renders).keys() == {"sofa/color.exr", "sofa/albedo.exr", "sofa/colorVariance.exr"}
    assert all("samples of them all" in reason for reason in reasons(renders).values())


def test_any_other_naming_by_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "run1/cam2/f1", "run2/cam2/f1", "run1/cam2/f1_aov_alb", "run2/cam2/f1_aov_alb", "notes/x")
    pattern = r"run(?P<realisation>\d)/(?P<frame>(?P<camera>cam\d)/f\d)(_aov_(?P<buffer>alb))?"
    renders = list_renders([tmp_path], pattern)
    assert shown(renders) == {"cam2/f1": ["1 None: * albedo", "2 None: * albedo"]}
    assert renders.frames[0].camera == "cam2"
    assert reasons(renders) == {"notes/x.exr": "its name does not fit the pattern"}


@pytest.mark.parametrize("pattern", ["(?P<frame>", "(.+)", "(?P<frame>.+)_(?P<take>.)"])
def test_wrong_patterns_are_refused(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"pattern|expression"):
        list_renders([tmp_path], pattern)


def test_what_cannot_be_paired_is_listed_with_the_reason(tmp_path: Path) -> None:
    names = [
        "one_a",
        "two_a",
        "two_b",
        "two_c_albedo",
        "three_8.hdr",
        "three_512.hdr",
        "four_a",
        "four_b",
        "four_albedo",
    ]
    renders = list_renders([touch(tmp_path, *names)])
    assert shown(renders).keys() == {"two", "four"}
    assert reasons(renders) == {
        "one_a.exr": "one has one realisation, which pairs with nothing",
        "two_c_albedo.exr": "no radiance of the same realisation beside it",
        "three_8.hdr.exr": "three has one realisation, which pairs with nothing",
        "three_512.hdr.exr": "three has one realisation, which pairs with nothing",
        "four_albedo.exr": "of no realisation, but four has several: it may hold the samples of them all",
    }


def test_every_file_is_in_a_frame_or_left_out(tmp_path: Path) -> None:
    names = [
        "a_a",
        "a_b",
        "a_A",
        "a_8spp",
        "b/a_a",
        "b/x_ref",
        "x",
        "_",
        "a_b0_b1",
        "0001",
        "0002",
        "a_hdr_alb",
        ".hidden",
    ]
    renders = list_renders([touch(tmp_path, *names)])
    told = [file.title for frame in renders.frames for file in frame.files] + list(reasons(renders))
    assert sorted(told) == sorted(f"{name}.exr" for name in names if name != ".hidden")


def test_frames_of_two_folders_of_one_name_do_not_meet(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "x" / "set", "f_a", "f_b"), touch(tmp_path / "y" / "set", "f_a", "f_b")
    assert shown(list_renders([one, two])).keys() == {"0/f", "1/f"}


def test_nothing_to_pair_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"two realisations(.|\n)*one_a\.exr: one has one(.|\n)*--renders-pattern"):
        list_renders([touch(tmp_path, "one_a")])
    with pytest.raises(BadInput, match="no such folder"):
        list_renders([tmp_path / "nothing"])
