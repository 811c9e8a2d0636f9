"""Where a frame is seen from: positions, and the same moved about a little."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

MOVE = 0.04  # of the scene's diagonal, by which a view is moved at most
TURN_DEG = 15.0
TILT_DEG = 6.0


@dataclass(frozen=True)
class Camera:
    """A perspective camera, perhaps with a lens."""

    to_world: Matrix
    """(4, 4): its axes left, up and ahead as columns, then its place."""
    fov_deg: float
    """Across the frame's width."""
    aperture: float = 0.0
    focus: float = 1.0


def looking(origin: Vector, target: Vector) -> Matrix:
    """The (4, 4) matrix of a camera at `origin` that looks at `target`, with y upwards."""
    ahead = (target - origin) / np.linalg.norm(target - origin)
    left = np.cross([0.0, 1.0, 0.0], ahead)
    left /= np.linalg.norm(left)
    matrix = np.eye(4)
    matrix[:3] = np.stack([left, np.cross(ahead, left), ahead, origin], axis=1)
    return matrix


def moved(camera: Camera, diagonal: float, generator: np.random.Generator) -> Camera:
    """The same camera a little elsewhere, turned and tilted about its own axes."""
    turn = np.radians(generator.uniform(-TURN_DEG, TURN_DEG))
    tilt = np.radians(generator.uniform(-TILT_DEG, TILT_DEG))
    around_up = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    around_left = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    matrix = camera.to_world.copy()
    matrix[:3, :3] = matrix[:3, :3] @ around_up @ around_left
    matrix[:3, 3] += generator.uniform(-1, 1, 3) * MOVE * diagonal
    return replace(camera, to_world=matrix)
