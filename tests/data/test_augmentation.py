import numpy as np
import pytest

from anyteacher.data.augmentation import Augmentation, check_view, drawn_view, fixed_view
from anyteacher.errors import ConfigError


def draw(picture, size, fit="crop", seed=0, **settings):
    return drawn_view(picture, size, fit, Augmentation(**settings), np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("picture", "size", "fit", "part", "spot"),
    [
        ((100, 200), (50, 100), "crop", (0, 0, 100, 200), (0, 0, 50, 100)),
        ((100, 200), (50, 50), "crop", (0, 50, 100, 100), (0, 0, 50, 50)),
        ((200, 100), (50, 50), "crop", (50, 0, 100, 100), (0, 0, 50, 50)),
        ((100, 200), (50, 50), "pad", (0, 0, 100, 200), (12, 0, 25, 50)),
        ((200, 100), (50, 50), "pad", (0, 0, 200, 100), (0, 12, 50, 25)),
        ((10, 10), (40, 40), "crop", (0, 0, 10, 10), (0, 0, 40, 40)),
        ((1, 500), (3, 3), "pad", (0, 0, 1, 500), (1, 0, 1, 3)),
        ((1, 500), (3, 3), "crop", (0, 249, 1, 1), (0, 0, 3, 3)),
    ],
)
def test_the_view_of_validation(picture, size, fit, part, spot):
    view = fixed_view(picture, size, fit)
    assert (view.part, view.spot, view.size) == (part, spot, size)
    assert (view.zoom, view.mirrored, view.color) == (1, False, (1, 1, 1))


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_without_variation_the_view_is_that_of_validation_but_for_where_it_is_cut(fit):
    usual, view = fixed_view((100, 90), (40, 36), fit), draw((100, 90), (40, 36), fit, flip=0)
    assert view == usual
    assert draw((100, 200), (50, 50), flip=1).mirrored


def test_a_zoom_sees_less_and_makes_everything_nearer():
    view = draw((120, 160), (60, 80), zoom=(2, 2), flip=0)
    assert view.part[2:] == (60, 80)
    assert view.spot == (0, 0, 60, 80)
    assert view.zoom == pytest.approx(2)
    view = draw((120, 160), (60, 80), zoom=(0.5, 0.5), flip=0)
    assert view.part == (0, 0, 120, 160)
    assert view.spot[2:] == (30, 40)
    assert view.zoom == pytest.approx(0.5)


def test_zooms_are_spread_evenly_and_parts_over_the_whole_picture():
    views = [draw((200, 300), (50, 50), zoom=(1, 2), seed=s) for s in range(400)]
    zooms = sorted(view.zoom for view in views)
    np.testing.assert_allclose(zooms, np.linspace(1, 2, 400), atol=0.08)
    assert min(v.part[1] for v in views) < 10
    assert max(v.part[1] + v.part[3] for v in views) > 290
    assert 150 < sum(view.mirrored for view in views) < 250


def test_parts_stay_inside_and_whole_pixels():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        picture = tuple(int(n) for n in rng.integers(1, 60, 2))
        size = tuple(int(n) for n in rng.integers(1, 60, 2))
        for settings in ({"zoom": (0.3, 3.0)}, {"area": (0.08, 1.0), "ratio": (0.5, 2.0)}):
            view = draw(picture, size, "crop" if seed % 2 else "pad", seed, **settings)
            for (start, length), whole in zip(
                (view.part[::2], view.part[1::2], view.spot[::2], view.spot[1::2]),
                (*picture, *size),
                strict=True,
            ):
                assert 0 <= start < start + length <= whole


def test_a_part_has_the_drawn_area_and_shape():
    views = [
        draw((300, 400), (50, 50), area=(0.1, 0.5), ratio=(0.75, 4 / 3), seed=s) for s in range(300)
    ]
    areas = sorted(v.part[2] * v.part[3] / 120_000 for v in views)
    np.testing.assert_allclose(areas, np.linspace(0.1, 0.5, 300), atol=0.04)
    shapes = [v.part[3] / v.part[2] for v in views]
    assert 0.74 < min(shapes) < 0.8
    assert 1.26 < max(shapes) < 1.35
    # The whole of a wide picture has no square part: the largest one is taken.
    assert draw((100, 400), (50, 50), area=(1, 1)).part[2:] == (100, 100)


def test_colours_vary_around_one():
    colors = np.array([draw((9, 9), (9, 9), color=0.4, seed=s).color for s in range(300)])
    assert colors.min() < 0.63
    assert colors.max() > 1.37
    assert (abs(colors - 1) <= 0.4).all()
    assert draw((9, 9), (9, 9)).color == (1, 1, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zoom": (1, 2), "area": (0.1, 1)}, "not both"),
        ({"zoom": (2, 1)}, r"zoom needs two positive numbers in order, got \(2, 1\)"),
        ({"zoom": (0, 1)}, "zoom needs two positive"),
        ({"area": (0.5, 1.5)}, r"No more than the whole picture .* \(0.5, 1.5\)"),
        ({"ratio": (0.5, 2)}, "needs an area"),
        ({"flip": 2}, r"flip lies in \[0, 1\].*got 2"),
        ({"color": 1}, r"color in \[0, 1\)"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation(**settings)


def test_impossible_views():
    with pytest.raises(ConfigError, match="positive size, got 0 x 3"):
        check_view((0, 3), "crop")
    with pytest.raises(ConfigError, match=r"No way to fit 'cropp'. Did you mean crop"):
        check_view((3, 3), "cropp")
