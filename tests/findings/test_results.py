"""What is said of the results, whoever wins and whatever is missing."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from anyteacher.findings.arms import arms_of, compared, differences
from anyteacher.findings.page import make_page
from anyteacher.findings.results import failed_text, finding_text, paired_table, results_table

LOWER, SAME, HIGHER = [0.11, 0.19, 0.16], [0.22, 0.27, 0.26], [0.30, 0.41, 0.35]
ALONE = [0.20, 0.30, 0.25]
WORDS = {
    "better": "other is better than alone by 3 seeds",
    "worse": "other is worse than alone by 3 seeds",
    "undecided": "other cannot be told from alone by 3 seeds",
}


def text(found):
    """The words of the page of given arms."""
    page = make_page(found, compared(found), differences(found)).html()
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>"))
    return " ".join("".join(tree.find("body").itertext()).split())


@pytest.fixture
def two(finding):
    """An arm `alone` and an arm `other` with given test results."""

    def make(values, mode="max", **options):
        rows = [("alone", ALONE, {}), ("other", values, {"distillation": {"weight": 2.0}})]
        return arms_of(
            [
                finding(
                    f"runs/{name}-{seed}",
                    seed=seed,
                    settings=settings,
                    tested={"top1": value},
                    mode=mode,
                    **options,
                )
                for name, results, settings in rows
                for seed, value in enumerate(results)
            ]
        )

    return make


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("values", [LOWER, SAME, HIGHER])
def test_the_words_follow_the_interval_whoever_wins(two, mode, values):
    arms = two(values, mode)
    verdict = compared(arms).pairs["other"].verdict
    lower = "better" if mode == "min" else "worse"
    higher = "worse" if mode == "min" else "better"
    assert verdict == {0.11: lower, 0.22: "undecided", 0.30: higher}[values[0]]
    shown = text(arms)
    assert f"By the 95 % intervals: {WORDS[verdict]}." in shown
    assert all(words not in shown for v, words in WORDS.items() if v != verdict)
    assert finding_text(arms, compared(arms)) in shown


def test_the_tables_show_every_run_and_the_paired_difference(two):
    arms = two(HIGHER)
    comparison = compared(arms)
    table = results_table(arms, comparison)
    assert [row[:2] for row in table.rows] == [
        (name, str(seed)) for name in ("alone", "other") for seed in range(3)
    ]
    assert [row[4] for row in table.rows] == ["0.2", "0.3", "0.25", "0.3", "0.41", "0.35"]
    (row,) = paired_table(arms, comparison).rows
    numbers = [float(n) for n in re.findall(r"[\d.]+", row[1].replace("−", "-"))]
    paired = comparison.pairs["other"]
    assert numbers == pytest.approx([paired.mean, paired.low, paired.high], abs=0.001)
    assert row[2:] == ("3", "3 of 3")
    shown = text(arms)
    assert "difference in test top1 [95 %]" in shown
    assert "which also chose the weights" not in shown


def test_untested_runs_are_compared_on_validation_data_and_the_page_says_so(two):
    curves = {"val/top1": [(1, 0.5)]}
    tested = two(HIGHER, curves=curves)
    arms = [
        replace(a, findings=tuple(replace(f, run=replace(f.run, tested=None)) for f in a.findings))
        for a in tested
    ]
    shown = text(arms)
    assert "difference in best validation top1" in shown
    assert "Not every run was tested" in shown
    assert "anyteacher test RUN" in shown


@pytest.mark.parametrize(
    ("value", "mode", "shown", "won"),
    [
        (0.6, "max", "0.1 [–]", "1 of 1"),
        (0.6, "min", "0.1 [–]", "0 of 1"),
        (0.4, "max", "−0.1 [–]", "0 of 1"),
        (0.4, "min", "−0.1 [–]", "1 of 1"),
        (0.5, "max", "0 [–]", "0 of 1"),
    ],
)
def test_one_shared_seed_has_its_difference_and_no_interval(finding, value, mode, shown, won):
    twice = {"distillation": {"weight": 2}}
    arms = arms_of(
        [
            finding("runs/alone", tested={"top1": 0.5}, mode=mode),
            finding("runs/other-0", tested={"top1": value}, mode=mode, settings=twice),
            finding("runs/other-1", tested={"top1": 0.9}, mode=mode, settings=twice, seed=1),
        ]
    )
    table = paired_table(arms, compared(arms))
    assert table.rows == [("other", shown, "1", won)]
    assert "Of one the difference stands alone: it does not tell how much" in table.note
    assert "By the 95 % intervals" not in text(arms)


def test_no_shared_seed_has_no_difference(finding):
    other = finding("r/b", seed=1, tested={"top1": 0.6}, settings={"distillation": {"weight": 2}})
    arms = arms_of([finding("r/a", tested={"top1": 0.5}), other])
    table = paired_table(arms, compared(arms))
    assert table.rows == [("b", "–", "0", "–")]
    assert "stands alone" not in table.note


def test_a_run_without_a_number_is_named_and_its_arm_has_no_interval(two):
    arms = two([0.30, math.nan, 0.35])
    comparison = compared(arms)
    assert paired_table(arms, comparison).rows == [("other", "–", "3", "–")]
    assert [row[4] for row in results_table(arms, comparison).rows[3:]] == [
        "0.3",
        "– (nan)",
        "0.35",
    ]
    assert "no finite test top1" in failed_text(comparison)
    shown = text(arms)
    assert "the run in runs/other-1 has nan for it" in shown
    assert "By the 95 % intervals" not in shown
    assert failed_text(compared(two(HIGHER))) == ""
