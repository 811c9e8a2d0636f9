"""Generated rooms: functions of their seed, varied, and seen from inside. No renderer is needed."""

from typing import Any

import numpy as np
import pytest

from pipeline.rendering.cameras import Camera, looking, moved
from pipeline.rendering.interiors import FACES, camera_in, interior, turned, wall


def plain(value: Any) -> Any:
    """Comparable with ==."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def kinds(value: Any) -> set[str]:
    found = {value["type"]} if "type" in value else set()
    for part in value.values():
        found |= kinds(part) if isinstance(part, dict) else set()
    return found


def test_a_room_is_a_function_of_its_seed() -> None:
    rooms = [[plain(node) for node in interior(np.random.default_rng(seed))[1]] for seed in (3, 3, 4)]
    assert rooms[0] == rooms[1]
    assert rooms[0] != rooms[2]


def test_rooms_have_what_makes_renders_noisy() -> None:
    found: set[str] = set()
    for seed in range(15):
        _, nodes = interior(np.random.default_rng(seed))
        assert any("emitter" in node or node["type"] in ("constant", "directional") for node in nodes), "a dark room"
        found |= set().union(*(kinds(node) for node in nodes))
    assert found >= {"constant", "directional", "area", "dielectric", "roughconductor", "plastic", "bitmap"}
    assert found >= {"checkerboard", "sphere", "cube", "cylinder", "rectangle"}


def test_every_room_has_a_lamp_that_is_not_in_glass_or_a_panel() -> None:
    """Light of the sky alone, or through glass alone, reaches a pixel by few of a thousand paths."""
    for seed in range(60):
        _, nodes = interior(np.random.default_rng(seed))
        shades = [
            node["center"]
            for node in nodes
            if node.get("bsdf", {}).get("type") == "dielectric" and node["type"] == "sphere"
        ]
        lamps = [node for node in nodes if "emitter" in node]
        assert any(lamp["type"] == "rectangle" or lamp["center"] not in shades for lamp in lamps), seed


@pytest.mark.parametrize("name", FACES)
def test_walls_enclose_the_room(name: str) -> None:
    half = np.array([2.0, 1.5, 3.0])
    matrix = wall(name, half, np.random.default_rng(0))["to_world"]
    corners = [(matrix @ [x, y, 0, 1])[:3] for x in (-1, 1) for y in (-1, 1)]
    place = np.array(FACES[name][0])
    assert np.allclose(np.mean(corners, axis=0), place * half)
    flat = place != 0
    assert np.allclose(np.abs(corners), half)
    assert np.allclose(np.ptp(corners, axis=0)[flat], 0)
    assert np.dot((matrix @ [0, 0, 1, 0])[:3], place) < 0  # it faces inwards


def test_cameras_are_inside_and_look_where_they_should() -> None:
    half = np.array([2.0, 1.5, 3.0])
    for seed in range(20):
        camera = camera_in(half, np.random.default_rng(seed))
        axes, place = camera.to_world[:3, :3], camera.to_world[:3, 3]
        assert np.all(np.abs(place) < half)
        assert np.allclose(axes.T @ axes, np.eye(3))
        assert np.linalg.det(axes) == pytest.approx(1)
    matrix = looking(np.array([0.0, 0, 5]), np.array([0.0, 1, 0]))
    assert np.allclose(matrix[:3, 2], np.array([0, 1, -5]) / np.sqrt(26))
    assert np.allclose(turned((0, 1, 0), 90) @ [0, 0, 1, 0], [1, 0, 0, 0])


def test_a_moved_camera_stays_near() -> None:
    camera = Camera(looking(np.zeros(3), np.array([0.0, 0, 1])), 50.0)
    others = [moved(camera, 10.0, np.random.default_rng(seed)) for seed in range(20)]
    for other in others:
        assert np.all(np.abs(other.to_world[:3, 3]) <= 0.4)
        assert np.allclose(other.to_world[:3, :3] @ other.to_world[:3, :3].T, np.eye(3))
        assert other.to_world[2, 2] > 0.9
        assert other.fov_deg == 50
    assert not np.allclose(others[0].to_world, others[1].to_world)
