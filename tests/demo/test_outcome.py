import json
import math

import pytest

from anyteacher.demo.plan import DEPTH, DIGITS, quick

DEPTH_RESULTS = {
    "alone": [0.20, 0.30, 0.25],
    "traditional": [0.24, 0.33, 0.30],
    "inverted": [0.16, 0.27, 0.20],
    "inverted, random": [0.20, 0.25, 0.26],
}
DIGITS_RESULTS = {
    "alone": [0.8, 0.7],
    "traditional, random": [0.7, 0.5],
    "inverted, random": [0.9, 0.9],
}
T_975 = {1: 12.706204736432095, 2: 4.302652729911275}


@pytest.mark.parametrize(
    ("study", "results"),
    [(DEPTH, DEPTH_RESULTS), (quick(DIGITS), DIGITS_RESULTS)],
    ids=["depth", "digits"],
)
def test_each_arm_is_compared_with_the_first_by_hand(made_up, study, results):
    found = made_up(study, results).against_baseline()
    baseline = results["alone"]
    assert list(found) == list(results)[1:]
    for name, paired in found.items():
        gaps = [ours - theirs for ours, theirs in zip(results[name], baseline, strict=True)]
        n = len(gaps)
        mean = sum(gaps) / n
        deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / (n - 1))
        half = T_975[n - 1] * deviation / math.sqrt(n)
        ends = (paired.mean, paired.low, paired.high)
        assert ends == pytest.approx((mean, mean - half, mean + half), abs=1e-9)
        better = [gap < 0 if study.name == "depth" else gap > 0 for gap in gaps]
        assert (paired.seeds, paired.won) == (n, pytest.approx(sum(better) / n))
        assert paired.mode == study.mode


def test_verdicts_know_which_way_is_better(made_up):
    depth = made_up(DEPTH, DEPTH_RESULTS).against_baseline()
    assert {name: paired.verdict for name, paired in depth.items()} == {
        "traditional": "worse",
        "inverted": "better",
        "inverted, random": "undecided",
    }


def test_values_are_in_the_order_of_the_seeds(made_up):
    outcome = made_up(DEPTH, DEPTH_RESULTS)
    assert outcome.values(DEPTH.arms[2], "abs_rel") == [0.16, 0.27, 0.20]
    assert outcome.values(DEPTH.arms[2], "other") == [7.0] * 3
    with pytest.raises(KeyError):
        outcome.values(DEPTH.arms[2], "top1")


def test_the_record_holds_everything_and_reads_back(made_up):
    record = made_up(DEPTH, DEPTH_RESULTS).record()
    assert json.loads(json.dumps(record, allow_nan=False))["study"] == "depth"
    assert record["metric"] == "abs_rel"
    assert record["seeds"] == [0, 1, 2]
    assert (record["steps"], record["train_size"]) == (DEPTH.steps, DEPTH.train_size)
    assert [arm["name"] for arm in record["arms"]] == list(DEPTH_RESULTS)
    for made, arm in zip(record["arms"], DEPTH.arms, strict=True):
        settings = ("teacher", "direction", "weight", "compare")
        assert [made[name] for name in settings] == [getattr(arm, name) for name in settings]
        assert [run["metrics"]["abs_rel"] for run in made["runs"]] == DEPTH_RESULTS[arm.name]
        assert [run["seconds"] for run in made["runs"]] == [10.0, 11.0, 12.0]
        assert all(len(run["curve"]) == DEPTH.steps // 2 for run in made["runs"])


def test_an_outcome_without_pictures_has_none(made_up):
    outcome = made_up(quick(DIGITS), DIGITS_RESULTS)
    assert outcome.images.numel() == outcome.targets.numel() == 0
