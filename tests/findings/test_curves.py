import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.findings import curves
from anyteacher.findings.arms import Arm
from anyteacher.logs import spread
from anyteacher.report import HeatMap, LineChart, Panel


def values(chart: LineChart):
    return {line.label: dict(zip(line.x, line.y, strict=True)) for line in chart.series}


@pytest.fixture
def arm(finding):
    def make(*logs, name="a"):
        return Arm(name, tuple(finding(f"r/{s}", seed=s, curves=c) for s, c in enumerate(logs)))

    return make


def test_the_mean_is_over_the_seeds_at_the_steps_of_all(arm):
    made = arm({"x": [(0, 1.0), (5, 3.0), (9, 4.0)]}, {"x": [(0, 2.0), (5, 5.0)]})
    assert curves.mean_curve(made.findings, "x") == [(0, 1.5), (5, 4.0)]
    assert curves.mean_curve(made.findings, "y") == []
    assert curves.mean_curve(arm({"x": [(0, 1.0)]}, {}).findings, "x") == []


def test_a_long_curve_is_thinned_to_its_ends_and_places_between():
    long = [(i, float(i)) for i in range(1000)]
    thin = curves.thinned(long, 7)
    assert [place for place, _ in thin] == [0, 166, 333, 500, 666, 832, 999]
    assert curves.thinned(long[:7], 7) == long[:7]


def test_the_two_terms_and_their_sum(arm):
    log = {
        "spectra/l/transfer": [(0, 0.3), (3, 0.2)],
        "spectra/l/regularisation": [(0, 0.1), (3, 0.05)],
        "spectra/l/total": [(0, 0.4), (3, 0.25)],
    }
    chart = curves.terms(arm(log), "l", 100)
    assert values(chart) == {
        "knowledge transfer": {0: 0.3, 3: 0.2},
        "spectral regularisation": {0: 0.1, 3: 0.05},
        "both": {0: 0.4, 3: 0.25},
    }
    assert (chart.log_y, chart.x_label) == (True, "training step")
    assert chart.y_label == "mean squared error per element"
    assert "seeds" not in chart.note
    assert "Mean over 2 seeds" in curves.terms(arm(log, log), "l", 100).note
    assert curves.terms(arm(log), "other", 100) is None


@pytest.mark.parametrize("small", [0.0, 1e-18])
def test_a_term_of_rounding_does_not_stretch_the_axis(arm, small):
    log = {"spectra/l/transfer": [(0, 0.3)], "spectra/l/regularisation": [(0, small)]}
    assert not curves.terms(arm(log), "l", 100).log_y


def test_ranks_of_what_was_logged(arm):
    log = {"spectra/l/centred_rank": [(0, 4.0)]}
    assert values(curves.ranks(arm(log), "l", 100)) == {"student's feature": {0: 4.0}}
    log["spectra/l/projector_rank"] = [(0, 3.0)]
    assert set(values(curves.ranks(arm(log), "l", 100))) == {"projector", "student's feature"}


def test_the_heat_map_has_a_panel_a_seed(arm):
    def log(factor):
        return {
            f"spectra/l/singular_values/{i}": [(0, factor * (12 - i)), (3, factor * (24 - i))]
            for i in range(12)  # in the order of numbers, not of names
        }

    chart = curves.spectrum(arm(log(1.0), log(2.0), {}), "l")
    assert isinstance(chart, HeatMap)
    assert [(panel.label, list(panel.x)) for panel in chart.panels] == [
        ("seed 0", [0, 3]),
        ("seed 1", [0, 3]),
    ]
    assert chart.panels[1].values[:, 0].tolist() == [2.0 * (12 - i) for i in range(12)]
    assert curves.spectrum(arm({}), "l") is None


def test_the_heat_map_fills_what_was_not_logged_of_a_step(arm):
    values = {0: {0: 8.0, 3: 8.0, 6: 4.0}, 4: {0: 0.5, 3: 0.25}, 2: {3: 4.0}, 3: {0: 1.0}}
    log = {f"spectra/l/singular_values/{n}": sorted(c.items()) for n, c in values.items()}
    (panel,) = curves.spectrum(arm(log), "l").panels
    assert (list(panel.x), panel.rows) == ([0, 3, 6], (1, 3, 4, 5))
    # Between 8 and 1, of which it is the second of three steps: 8^(1/3) = 2. Then 4 and 0.25, the
    # first of two steps: 1. What no value of the step reaches is zero.
    expected = [[8.0, 2.0, 1.0, 0.5], [8.0, 4.0, 1.0, 0.25], [4.0, 0.0, 0.0, 0.0]]
    assert panel.values.T.tolist() == [pytest.approx(column) for column in expected]


def test_the_heat_map_of_a_wide_projector_is_that_of_all_its_values(tmp_path):
    """What is logged of 300 values, drawn, is within a step of the scale of all of them."""
    whole = torch.logspace(0, -3, 300).double()[:, None] * torch.tensor([1.0, 0.5])
    kept = spread(300, 64)
    rows = tuple(place + 1 for place in kept)

    def drawn(*arguments):
        one = Panel("a", [0, 1], *arguments)
        picture = HeatMap("t", "x", "y", "z", [one])._picture(one)
        return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)

    assert np.abs(drawn(whole[kept], rows) - drawn(whole)).max() <= 6


def test_arms_keep_their_place_where_they_logged_nothing(arm):
    made = [arm({"x": [(2, 1.0)]}, name="a"), arm({}, name="b"), arm({"y": [(2, 3.0)]}, name="c")]
    chart = curves.between_arms(made, {"a": "x", "b": "x", "c": "y"}, "title", "unit", points=100)
    found = values(chart)
    assert list(found) == ["a", "b", "c"]
    assert (found["a"], found["c"]) == ({2: 1.0}, {2: 3.0})
    assert math.isnan(found["b"][2])
    assert curves.between_arms(made, {"b": "x"}, "title", "unit", points=100) is None


def test_what_is_nowhere_finite_is_no_figure(arm):
    log = {"spectra/l/centred_rank": [(0, math.nan)]}
    assert curves.ranks(arm(log), "l", 100) is None


def test_whether_a_link_was_looked_at(arm):
    assert curves.is_logged(arm({"spectra/l/energy": [(0, 1.0)]}), "l")
    assert not curves.is_logged(arm({"spectra/l/energy": [(0, 1.0)]}), "m")


def test_arms_are_drawn_over_the_seeds_that_all_have(arm):
    """Where one seed is easier, an arm with more seeds would look better or worse for that."""
    alone = arm({"x": [(1, 0.5), (2, 0.6)]}, name="alone")
    taught = arm({"x": [(1, 0.6), (2, 0.7)]}, {"x": [(1, 0.1), (2, 0.2)]}, name="taught")
    chart = curves.between_arms(
        [alone, taught], {"alone": "x", "taught": "x"}, "title", "unit", points=100, note="Of it."
    )
    assert values(chart) == {"alone": {1: 0.5, 2: 0.6}, "taught": {1: 0.6, 2: 0.7}}
    assert chart.note.startswith("Of it. Of seed 0, which both arms have.")


def test_a_run_that_logged_nothing_takes_no_seed_from_the_others(arm):
    some = arm({"x": [(1, 0.5)]}, {}, name="some")
    whole = arm({"x": [(1, 0.6)]}, {"x": [(1, 0.8)]}, name="whole")
    names = {"some": "x", "whole": "x"}
    chart = curves.between_arms([some, whole], names, "title", "unit", points=100)
    assert values(chart) == {"some": {1: 0.5}, "whole": {1: 0.6}}
