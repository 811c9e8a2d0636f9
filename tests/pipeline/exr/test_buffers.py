"""Buffers are found under the names that renderers give them."""

import io
from collections.abc import Callable

import numpy as np
import OpenEXR
import pytest

from pipeline.errors import BadInput
from pipeline.exr.buffers import Patterns, find_buffers, read_frame
from pipeline.exr.container import parse
from pipeline.exr.pixels import encode

PLANE = np.ones((4, 5), np.float16)
RENDERERS = {
    "plain": ("R G B A albedo.R albedo.G albedo.B normal.X normal.Y normal.Z depth.T", "R albedo.R normal.X depth.T"),
    "blender": (
        "ViewLayer.Combined.R,ViewLayer.Combined.G,ViewLayer.Combined.B,ViewLayer.Combined.A,ViewLayer.DiffCol.R,"
        "ViewLayer.DiffCol.G,ViewLayer.DiffCol.B,ViewLayer.Denoising Albedo.R,ViewLayer.Denoising Albedo.G,"
        "ViewLayer.Denoising Albedo.B,ViewLayer.Denoising Normal.X,ViewLayer.Denoising Normal.Y,"
        "ViewLayer.Denoising Normal.Z,ViewLayer.Denoising Depth.Z,ViewLayer.Depth.Z",
        "ViewLayer.Combined.R,ViewLayer.Denoising Albedo.R,ViewLayer.Denoising Normal.X,ViewLayer.Denoising Depth.Z",
    ),
    "arnold": (
        "R G B A N.R N.G N.B Z denoise_albedo.R denoise_albedo.G denoise_albedo.B specular.R specular.G specular.B "
        "variance.R variance.G variance.B",
        "R denoise_albedo.R N.R Z variance.R",
    ),
    "renderman": (
        "Ci.r Ci.g Ci.b a albedo.r albedo.g albedo.b normal.x normal.y normal.z z",
        "Ci.r albedo.r normal.x z",
    ),
    "vray": (
        "R G B A diffuseFilter.R diffuseFilter.G diffuseFilter.B normals.X normals.Y normals.Z zDepth.Z",
        "R diffuseFilter.R normals.X zDepth.Z",
    ),
    "mitsuba": (
        "R G B img.R img.G img.B albedo.R albedo.G albedo.B sh_normal.X sh_normal.Y sh_normal.Z",
        "R albedo.R sh_normal.X",
    ),
    "corona": (
        "R G B VisibleDiffuse.red VisibleDiffuse.green VisibleDiffuse.blue "
        "VisibleNormals.R VisibleNormals.G VisibleNormals.B",
        "R VisibleDiffuse.red VisibleNormals.R",
    ),
    "colour alone": ("R G B diffuse_direct.R diffuse_direct.G diffuse_direct.B", "R"),
}


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_names_of_renderers_are_known(renderer: str) -> None:
    names, wanted = (text.split("," if "," in text else None) for text in RENDERERS[renderer])
    found = find_buffers(parse(encode(dict.fromkeys(names, PLANE)), "x.exr"))
    assert [place.channels[0] for place in found.values()] == wanted
    assert all(len(place.channels) in (1, 3) for place in found.values())


def test_components_come_in_their_own_order_not_the_alphabet() -> None:
    file = parse(encode({name: PLANE * value for name, value in zip("BGR", (3, 2, 1), strict=True)}), "x.exr")
    assert read_frame(file).buffers["color"][:, 0, 0].tolist() == [1, 2, 3]


def test_a_part_lends_its_name_to_its_channels(multi_part: bytes) -> None:
    frame = read_frame(parse(multi_part, "x.exr"))
    assert {name: place.part for name, place in frame.places.items()} == {"color": 0, "albedo": 1, "normal": 2}


def test_buffers_are_aligned_to_the_data_window_of_the_colour(multi_part: bytes) -> None:
    frame = read_frame(parse(multi_part, "x.exr"))  # colour begins at (-4, 3), the others at (0, 0)
    library = OpenEXR.File(io.BytesIO(multi_part), separate_channels=True)
    assert frame.buffers["albedo"].shape == frame.buffers["color"].shape == (3, 40, 60)
    albedo = library.channels(1)["R"].pixels
    assert np.array_equal(frame.buffers["albedo"][0, :, 4:], albedo[3:43, :56])
    assert not frame.buffers["albedo"][:, :, :4].any()


def test_a_part_of_an_unknown_name_is_colour_only_where_it_comes_first(make_exr: Callable[..., bytes]) -> None:
    scan = {"type": OpenEXR.scanlineimage}
    rgb = dict.fromkeys("RGB", PLANE)
    data = make_exr([({"name": "shot12", **scan}, rgb), ({"name": "albedo", **scan}, rgb)])
    assert {name: place.part for name, place in find_buffers(parse(data, "")).items()} == {"color": 0, "albedo": 1}
    data = make_exr([({"name": "albedo", **scan}, rgb), ({"name": "rgba", **scan}, rgb)])
    assert {name: place.part for name, place in find_buffers(parse(data, "")).items()} == {"color": 1, "albedo": 0}


def test_patterns_name_what_no_table_knows() -> None:
    names = [f"{layer}{letter}" for layer in ("", "house_alb.", "lpe.") for letter in "RGB"]
    file = parse(encode(dict.fromkeys(names, PLANE)), "x.exr")
    found = find_buffers(file, Patterns.parse(["albedo=house_alb.*", "color=lpe.[RGB]"]))
    assert found["albedo"].channels == ("house_alb.R", "house_alb.G", "house_alb.B")
    assert found["color"].channels[0] == "lpe.R"
    with pytest.raises(BadInput, match=r"no channels for normal(.|\n)*house_alb\.R"):
        find_buffers(file, Patterns.parse(["normal=N.*"]))
    with pytest.raises(BadInput, match="not a mapping"):
        Patterns.parse(["albedo"])
    with pytest.raises(BadInput, match="not a mapping"):
        Patterns.parse(["emission=E.*"])


def test_a_file_without_radiance_says_what_it_has() -> None:
    with pytest.raises(BadInput, match=r"no radiance(.|\n)*albedo\.R"):
        read_frame(parse(encode({f"albedo.{letter}": PLANE for letter in "RGB"}), "x.exr"))


def test_a_file_of_one_buffer_needs_no_names() -> None:
    file = parse(encode(dict.fromkeys("RGB", PLANE)), "x.nrm.exr")
    assert read_frame(file, only="normal").buffers.keys() == {"normal"}
    file = parse(encode(dict.fromkeys(["c0", "c1", "c2"], PLANE)), "x.alb.exr")
    assert read_frame(file, only="albedo").places["albedo"].channels == ("c0", "c1", "c2")
