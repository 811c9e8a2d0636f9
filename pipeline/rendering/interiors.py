"""Interiors that nobody built: rooms with furniture, windows, lamps, glass and metal, as a function of a seed.

They are to have what makes renders of interiors noisy: light through an opening, from small lamps, round corners,
by glass and by rough metal. A scene is plain data for Mitsuba's `load_dict`, with matrices and pictures as arrays, so
nothing here needs the renderer.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dead_leaves import dead_leaves
from pipeline.rendering.cameras import Camera, looking

Node = dict[str, Any]
Rng = np.random.Generator

TEXTURE = 96  # pixels a side
FACES = {  # of a box with corners at +-1: turned so that a rectangle, which faces +z, faces inwards
    "floor": ((0, -1, 0), (1, 0, 0), -90),
    "ceiling": ((0, 1, 0), (1, 0, 0), 90),
    "back": ((0, 0, -1), (0, 1, 0), 0),
    "front": ((0, 0, 1), (0, 1, 0), 180),
    "left": ((-1, 0, 0), (0, 1, 0), 90),
    "right": ((1, 0, 0), (0, 1, 0), -90),
}


def interior(generator: Rng) -> tuple[NDArray[np.float64], list[Node]]:
    """A room of 3 to 7 metres a side around the origin: its half size, and what is in it."""
    half = np.array([generator.uniform(1.5, 3.5), generator.uniform(1.2, 1.8), generator.uniform(1.5, 3.5)])
    nodes: list[Node] = []
    window = generator.random() < 0.5
    for name in FACES:
        open_wall = window and name == "right"
        nodes += wall_with_window(half, generator) if open_wall else [wall(name, half, generator)]
    if window:
        nodes += sky_and_sun(generator)
    bulbs = lamps(half, generator, least=0 if window else 1)
    nodes += bulbs
    if generator.random() < (0.35 if window else 0.6) or not bulbs:  # the sky alone lights corners too seldom
        nodes.append(panel(half, generator))
    nodes += [thing(half, generator) for _ in range(generator.integers(4, 12))]
    return half, nodes


def camera_in(half: NDArray[np.float64], generator: Rng) -> Camera:
    """Somewhere near the front of the room at the height of eyes, looking at something in its middle."""
    origin = generator.uniform([-0.7, -0.3, 0.5], [0.4, 0.5, 0.9]) * half
    target = generator.uniform([-0.5, -0.7, -0.9], [0.5, 0.2, -0.2]) * half
    lens = generator.random() < 0.2
    distance = float(np.linalg.norm(target - origin))
    return Camera(looking(origin, target), generator.uniform(45, 80), 0.04 if lens else 0.0, distance)


def wall(name: str, half: NDArray[np.float64], generator: Rng) -> Node:
    """One side of the room, from corner to corner."""
    place, axis, angle = FACES[name]
    size = {"floor": half[[0, 2]], "ceiling": half[[0, 2]], "back": half[:2], "front": half[:2]}.get(name, half[[2, 1]])
    matrix = moved_to(np.array(place) * half) @ turned(axis, angle) @ scaled(size[0], size[1], 1)
    return {"type": "rectangle", "to_world": matrix, "bsdf": surface(generator, plain=name == "ceiling")}


def wall_with_window(half: NDArray[np.float64], generator: Rng) -> list[Node]:
    """The right wall as four pieces around an opening."""
    bsdf = surface(generator)
    low, high = -half[1] * generator.uniform(0.2, 0.6), half[1] * generator.uniform(0.5, 0.9)
    near, far = half[2] * generator.uniform(0.1, 0.8), -half[2] * generator.uniform(0.1, 0.8)
    pieces = [(-half[1], low, -half[2], half[2]), (high, half[1], -half[2], half[2])]
    pieces += [(low, high, -half[2], far), (low, high, near, half[2])]
    nodes = []
    for bottom, top, back, front in pieces:
        centre = np.array([half[0] + 0.1, (bottom + top) / 2, (back + front) / 2])
        matrix = moved_to(centre) @ scaled(0.1, (top - bottom) / 2, (front - back) / 2)
        nodes.append({"type": "cube", "to_world": matrix, "bsdf": bsdf})
    return nodes


def sky_and_sun(generator: Rng) -> list[Node]:
    """Blue from everywhere, and three times in four a sun that shines through the window."""
    blue = generator.uniform(0.6, 1.4) * generator.uniform(1, 6)
    nodes: list[Node] = [{"type": "constant", "radiance": rgb([0.7 * blue, 0.9 * blue, 1.2 * blue])}]
    if generator.random() < 0.75:
        direction = np.array([-1, -generator.uniform(0.3, 1.2), generator.uniform(-0.6, 0.6)])
        strength = generator.uniform(10, 60)
        light = rgb([strength, 0.9 * strength, 0.75 * strength])
        nodes.append({"type": "directional", "direction": direction.tolist(), "irradiance": light})
    return nodes


def lamps(half: NDArray[np.float64], generator: Rng, least: int) -> list[Node]:
    """Small bright spheres, some of them in a shade of glass; never all, as few paths leave one to light a room."""
    nodes: list[Node] = []
    for number in range(generator.integers(least, 4)):
        radius = generator.uniform(0.03, 0.12)
        centre = generator.uniform([-0.8, -0.2, -0.8], [0.8, 0.85, 0.8]) * half
        power = generator.uniform(0.3, 2) / radius**2
        warm = rgb((np.array([1, 0.8, 0.55]) ** generator.uniform(0, 1.5) * power).tolist())
        emitter = {"type": "area", "radiance": warm}
        nodes.append({"type": "sphere", "center": centre.tolist(), "radius": radius, "emitter": emitter})
        if generator.random() < 0.35 and number:
            glass = {"type": "dielectric", "int_ior": 1.5}
            nodes.append({"type": "sphere", "center": centre.tolist(), "radius": 1.8 * radius, "bsdf": glass})
    return nodes


def panel(half: NDArray[np.float64], generator: Rng) -> Node:
    """A light panel under the ceiling."""
    place = np.array([generator.uniform(-0.4, 0.4), 0.995, generator.uniform(-0.4, 0.4)]) * half
    sides = generator.uniform(0.2, 0.6, 2)
    matrix = moved_to(place) @ turned((1, 0, 0), 90) @ scaled(sides[0], sides[1], 1)
    power = generator.uniform(3, 20)
    emitter = {"type": "area", "radiance": rgb([power, 0.95 * power, 0.85 * power])}
    return {"type": "rectangle", "to_world": matrix, "emitter": emitter}


def thing(half: NDArray[np.float64], generator: Rng) -> Node:
    """A box, ball or pillar that stands on the floor, or a ball in the air."""
    shape = generator.choice(["cube", "sphere", "cylinder"])
    size = generator.uniform(0.12, 0.5, 3)
    spot = generator.uniform([-0.8, 0, -0.85], [0.8, 0, 0.35]) * half
    lift = generator.uniform(0, 1.5) if generator.random() < 0.2 else 0.0
    bsdf = material(generator)
    if shape == "sphere":
        ball = [spot[0], -half[1] + size[0] + lift, spot[2]]
        return {"type": "sphere", "center": ball, "radius": float(size[0]), "bsdf": bsdf}
    if shape == "cylinder":
        foot, head = ([spot[0], height, spot[2]] for height in (-half[1], -half[1] + 3 * size[1]))
        return {"type": "cylinder", "p0": foot, "p1": head, "radius": float(size[0] / 2), "bsdf": two_sided(bsdf)}
    centre = np.array([spot[0], -half[1] + size[1] + lift, spot[2]])
    matrix = moved_to(centre) @ turned((0, 1, 0), generator.uniform(0, 90)) @ scaled(*size)
    return {"type": "cube", "to_world": matrix, "bsdf": bsdf}


def material(generator: Rng) -> Node:
    """Of a thing: painted, varnished, metal rough or smooth, or glass."""
    kind = generator.random()
    if kind < 0.15:
        return {"type": "dielectric", "int_ior": float(generator.uniform(1.3, 1.7))}
    if kind < 0.4:
        metal = str(generator.choice(["Cu", "Au", "Al", "Ag", "Cr"]))
        roughness = float(generator.uniform(0.03, 0.4))
        return two_sided({"type": "roughconductor", "material": metal, "alpha": roughness, "distribution": "ggx"})
    if kind < 0.6:
        return two_sided({"type": "plastic", "diffuse_reflectance": colour(generator)})
    return surface(generator)


def surface(generator: Rng, plain: bool = False) -> Node:
    """A matt surface: of one colour, chequered, or with a generated picture on it."""
    kind = 0.0 if plain else generator.random()
    if kind < 0.4:
        reflectance: Node = colour(generator)
    elif kind < 0.6:
        reflectance = {"type": "checkerboard", "color0": colour(generator), "color1": colour(generator)}
        across, down = generator.integers(2, 12, 2)
        reflectance["to_uv"] = scaled(across, down, 1)
    else:
        picture = dead_leaves(TEXTURE, generator)
        across, down = generator.uniform(0.5, 2, 2)
        reflectance = {"type": "bitmap", "bitmap": picture, "to_uv": scaled(across, down, 1)}
    return two_sided({"type": "diffuse", "reflectance": reflectance})


def two_sided(bsdf: Node) -> Node:
    return bsdf if bsdf["type"] in ("dielectric", "twosided") else {"type": "twosided", "bsdf": bsdf}


def colour(generator: Rng) -> Node:
    """A muted one, from nearly black to nearly white."""
    grey = generator.beta(1.6, 1.2)
    tinted: list[float] = np.clip(grey + generator.normal(0, 0.1, 3), 0.03, 0.92).tolist()
    return rgb(tinted)


def rgb(values: list[float]) -> Node:
    return {"type": "rgb", "value": [float(value) for value in values]}


def moved_to(place: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = place
    return matrix


def scaled(x: float, y: float, z: float) -> NDArray[np.float64]:
    return np.diag([x, y, z, 1.0])


def turned(axis: tuple[int, int, int], degrees: float) -> NDArray[np.float64]:
    """About one of the three axes."""
    number = axis.index(1)
    first, second = (number + 1) % 3, (number + 2) % 3
    matrix = np.eye(4)
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    matrix[[first, first, second, second], [first, second, first, second]] = cosine, -sine, sine, cosine
    return matrix
