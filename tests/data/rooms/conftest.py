"""Scenes made by hand, of which everything is known."""

import pytest
import torch

from anyteacher.data.rooms.scene import MAX_OBJECTS, Scene
from anyteacher.data.rooms.texture import COLUMNS, FACES, FIRST, MAP, SECOND


@pytest.fixture(scope="session")
def scene_of():
    """Makes one scene: the camera at (0, 1.2, -2.5) looks straight along z in a 6 x 2.5 x 6 room.

    Objects are (kind, centre, half sizes) or (kind, centre, half sizes, turn in radians). Surfaces
    are plain: 0.5 in all colours, without gloss; texture coordinates are (p, q).
    """

    def make(*objects, eye=(0.0, 1.2, -2.5), room=(3.0, 2.5, 3.0), tan_half=0.6):
        active = torch.zeros(1, MAX_OBJECTS, dtype=torch.bool)
        kind = torch.zeros(1, MAX_OBJECTS, dtype=torch.int64)
        centre, half = torch.full((1, MAX_OBJECTS, 3), -9.0), torch.ones(1, MAX_OBJECTS, 3)
        turn = torch.tensor([1.0, 0.0]).repeat(1, MAX_OBJECTS, 1)
        for k, (what, place, size, *angle) in enumerate(objects):
            active[0, k], kind[0, k] = True, what
            centre[0, k], half[0, k] = torch.tensor(place), torch.tensor(size)
            radians = torch.tensor(angle[0] if angle else 0.0)
            turn[0, k] = torch.stack((radians.cos(), radians.sin()))
        textures = torch.zeros(1, FACES + MAX_OBJECTS, COLUMNS)
        textures[..., MAP] = textures[..., MAP + 3] = 1.0
        textures[..., FIRST : FIRST + 3] = textures[..., SECOND : SECOND + 3] = 0.5
        axes = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
        lamp = torch.tensor([[0.0, room[1] - 0.1, 0.0, 1.0, 1.0, 1.0, 0.4, 0.4, 0.4]])
        return Scene(
            room=torch.tensor([room]),
            eye=torch.tensor([eye]),
            axes=axes[None],
            tan_half=torch.tensor([tan_half]),
            active=active,
            kind=kind,
            centre=centre,
            half=half,
            turn=turn,
            textures=textures,
            day=lamp,
            night=lamp.clone(),
        )

    return make
