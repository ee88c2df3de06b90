import colorsys

import pytest
import torch

from anyteacher.data.rooms import texture
from anyteacher.data.rooms.rng import Stream
from anyteacher.data.rooms.scene import BOX, KINDS, MAX_OBJECTS, SPHERE, sample_scenes
from anyteacher.data.rooms.texture import (
    CHECKS,
    COLUMNS,
    FACES,
    FIRST,
    GLOSS,
    MAP,
    OFFSET,
    PATTERN,
    PLAIN,
    SECOND,
    STRIPES,
    WAVES,
    mixture,
    sample_textures,
)

PATTERNS = (PLAIN, CHECKS, STRIPES, WAVES)


def grid(steps=64):
    """Places of one period, on quarters and between."""
    u, v = torch.meshgrid(*(torch.arange(steps) / steps for _ in "uv"), indexing="ij")
    return u.flatten(), v.flatten()


def share(pattern, u, v):
    return mixture(torch.full_like(u, float(pattern)), u, v)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_is_a_share_with_period_one(pattern):
    u, v = grid()
    value = share(pattern, u, v)
    assert 0 <= value.min() <= value.max() <= 1
    for p, q in ((1, 0), (0, 1), (-3, 2), (5, 5)):
        torch.testing.assert_close(share(pattern, u + p, v + q), value, atol=1e-4, rtol=0)


def test_patterns_by_hand():
    u, v = torch.tensor([0.25, 0.75, 0.25, 0.75]), torch.tensor([0.25, 0.25, 0.75, 0.75])
    assert share(PLAIN, u, v).tolist() == [1, 1, 1, 1]
    assert share(STRIPES, u, v).tolist() == [1, 0, 1, 0]
    assert share(CHECKS, u, v).tolist() == [1, 0, 0, 1]
    # Waves are stripes whose edges swing and are soft: 0.22 of a period to and fro.
    u = torch.tensor([0.25, 0.75, 0.0, -0.22, 0.22])
    v = torch.tensor([0.0, 0.0, 0.0, 0.25, 0.75])
    torch.testing.assert_close(share(WAVES, u, v), torch.tensor([1, 0, 0.5, 0.5, 0.5]))
    fine = torch.linspace(0, 1, 1001)
    assert share(WAVES, fine, torch.zeros(1001)).diff().abs().max() < 0.02


@pytest.mark.parametrize("pattern", [CHECKS, STRIPES, WAVES])
def test_both_colours_have_half_of_the_surface(pattern):
    assert float(share(pattern, *grid(256)).mean()) == pytest.approx(0.5, abs=0.005)


def test_colours_are_those_of_the_standard_library_in_linear_light():
    h, s, v = torch.rand(3, 200, dtype=torch.float64)
    h = 4 * h - 2  # hues are turns: whole ones make no difference
    expected = [
        [channel**2 for channel in colorsys.hsv_to_rgb(*colour)]
        for colour in zip((h % 1).tolist(), s.tolist(), v.tolist(), strict=True)
    ]
    found = texture._hsv(h, s, v)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.fixture(scope="module")
def tables():
    """Textures of many scenes, with the kinds and sizes of their objects."""
    scene = sample_scenes(torch.arange(400))
    return scene.textures, scene.kind, scene.half


def test_the_same_numbers_give_the_same_textures(tables):
    _, kind, half = tables
    first, again = (sample_textures(Stream(torch.arange(400), 400), kind, half) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (400, FACES + MAX_OBJECTS, COLUMNS)
    alone = sample_textures(Stream(torch.tensor([7]), 400), kind[7:8], half[7:8])
    assert torch.equal(alone[0], first[7])
    other = sample_textures(Stream(torch.arange(400, 800), 400), kind, half)
    assert not (first == other).flatten(1).all(1).any()


def test_the_columns_hold_what_they_say(tables):
    table, _, _ = tables
    assert set(table[..., PATTERN].unique().tolist()) == set(map(float, PATTERNS))
    for first in (FIRST, SECOND):
        colours = table[..., first : first + 3]
        assert 0 <= colours.min() < 0.1
        assert 0.8 < colours.max() <= 1
    assert 0 <= table[..., GLOSS].min() <= table[..., GLOSS].max() < 0.6
    assert (table[:, [0, 1, 3, 4, 5], GLOSS] == 0).all()  # walls and ceiling do not shine
    offset = table[..., OFFSET : OFFSET + 2]
    assert 0 <= offset.min() < offset.max() < 1


def test_walls_match_but_for_one_and_ceilings_are_calm(tables):
    table, _, _ = tables
    assert torch.equal(table[:, 0], table[:, 1])
    assert torch.equal(table[:, 0], table[:, 4])
    accent = (table[:, 5] != table[:, 0]).any(1).float().mean()
    assert 0.3 < accent < 0.5
    ceiling = table[:, 3]
    assert set(ceiling[:, PATTERN].tolist()) == {PLAIN, STRIPES}
    torch.testing.assert_close(
        ceiling[:, SECOND : SECOND + 3], 0.85 * ceiling[:, FIRST : FIRST + 3]
    )
    assert ceiling[:, FIRST : FIRST + 3].min() > 0.6  # pale


def test_periods_on_flat_surfaces(tables):
    table, kind, _ = tables
    mapping = table[..., MAP : MAP + 4].reshape(400, -1, 2, 2)
    objects = mapping[:, FACES:][kind == BOX]
    for maps, low, high in (
        (mapping[:, 2], 0.5, 1.3),  # the floor
        (mapping[:, :2].flatten(0, 1), 0.45, 1.4),
        (mapping[:, 3], 0.8, 1.6),
        (objects, 0.28, 0.7),
    ):
        rows = maps.norm(dim=2)
        torch.testing.assert_close(rows[:, 0], rows[:, 1])  # a rotation and a scaling
        assert (maps[:, 0] * maps[:, 1]).sum(1).abs().max() < 1e-5
        period = 1 / rows
        assert low * 0.998 < period.min() < period.max() < high * 1.002


@pytest.mark.parametrize("kind", [k for k in range(len(KINDS)) if k != BOX])
def test_patterns_close_without_a_seam_around_what_is_round(tables, kind):
    table, kinds, half = tables
    chosen = table[:, FACES:][kinds == kind]
    around = chosen[:, [MAP, MAP + 2]]  # what a turn around the axis adds to u and v
    assert torch.equal(around, around.round())
    height = torch.where(kinds == SPHERE, 1.0, half[..., 1])[kinds == kind]
    q = torch.linspace(-1, 1, 41)[:, None] * height
    values = []
    for p in (0.0, 1.0):
        u = chosen[:, MAP] * p + chosen[:, MAP + 1] * q + chosen[:, OFFSET]
        v = chosen[:, MAP + 2] * p + chosen[:, MAP + 3] * q + chosen[:, OFFSET + 1]
        values.append(mixture(chosen[:, PATTERN].expand_as(u), u, v))
    # But for rounding at the very edge of a stripe.
    assert (values[0] - values[1]).abs().gt(1e-3).float().mean() < 1e-3
