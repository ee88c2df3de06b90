import base64
import io
import re
import statistics
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher import pictures
from anyteacher.demo.page import depth_columns, finding, make_page, table
from anyteacher.demo.plan import DEPTH, DIGITS, quick
from anyteacher.report import IntervalChart, LineChart

T_975 = 4.302652729911275  # two degrees of freedom
DEPTH_STUDY = replace(DEPTH, steps=20)
DIGITS_STUDY = replace(DIGITS, steps=20, seeds=(0, 1, 2))
LOWER, SAME, HIGHER = [0.11, 0.19, 0.16], [0.22, 0.27, 0.26], [0.30, 0.41, 0.35]
ALONE = [0.20, 0.30, 0.25]
DEPTH_RESULTS = {
    "alone": ALONE,
    "traditional": HIGHER,
    "inverted": LOWER,
    "inverted, random": SAME,
}
DIGITS_RESULTS = {"alone": ALONE, "traditional, random": HIGHER, "inverted, random": LOWER}
WORDS = {
    "better": "is better than the student alone",
    "worse": "is worse than the student alone",
    "undecided": "cannot be told from the student alone",
}


@pytest.fixture(scope="module")
def outcomes(made_up):
    return [made_up(DEPTH_STUDY, DEPTH_RESULTS), made_up(DIGITS_STUDY, DIGITS_RESULTS)]


@pytest.fixture(scope="module")
def page(outcomes):
    return make_page(outcomes, minutes=3.25, jobs=2, short=False)


@pytest.fixture(scope="module")
def tree(page):
    return parsed(page)


def parsed(page):
    html = page.html()
    assert html.startswith("<!DOCTYPE html>\n")
    return ET.fromstring(html.removeprefix("<!DOCTYPE html>"))


def text(tree):
    return " ".join("".join(tree.find("body").itertext()).split())


def said(outcome, name):
    """What the finding says of one arm."""
    parts = finding(outcome).removeprefix("By the 95 % intervals: ").removesuffix(".").split("; ")
    # A name may begin another: "inverted" and "inverted, random".
    return next(part for part in parts if part.startswith(f"{name} ")).removeprefix(f"{name} ")


def numbers(cell):
    return [float(n) for n in re.findall(r"[-+]?\d+\.\d+", cell.replace("\N{MINUS SIGN}", "-"))]


@pytest.mark.parametrize(
    ("position", "results", "factor", "decimals"),
    [(0, DEPTH_RESULTS, 1, 4), (1, DIGITS_RESULTS, 100, 2)],
    ids=["depth", "digits"],
)
def test_the_tables_show_the_results(tree, position, results, factor, decimals):
    tables = [t for t in tree.iter("table") if t.findtext(".//th") == "student"]
    assert len(tables) == 2
    rows = [["".join(cell.itertext()) for cell in row] for row in tables[position].iter("tr")]
    assert [row[0] for row in rows[1:]] == list(results)
    accuracy = 0.5 * 10**-decimals + 1e-9
    for name, mean, difference, won, seconds in rows[1:]:
        values = [factor * value for value in results[name]]
        expected = [statistics.fmean(values), statistics.stdev(values)]
        assert numbers(mean) == pytest.approx(expected, abs=accuracy)
        assert numbers(seconds) == [11.0]
        gaps = [factor * (a - b) for a, b in zip(results[name], ALONE, strict=True)]
        if name == "alone":
            assert difference == won == ""
            continue
        half = T_975 * statistics.stdev(gaps) / 3**0.5
        middle = statistics.fmean(gaps)
        expected = [middle, middle - half, middle + half]
        assert numbers(difference) == pytest.approx(expected, abs=accuracy)
        wins = sum(gap < 0 if position == 0 else gap > 0 for gap in gaps)
        assert won == f"{wins} of 3"


def test_the_terminals_table_is_the_pages(outcomes, page):
    for outcome, section in zip(outcomes, page.sections, strict=False):
        assert table(outcome) in section.blocks


@pytest.mark.parametrize("study", [DEPTH_STUDY, DIGITS_STUDY], ids=["min", "max"])
def test_findings_follow_the_intervals_whoever_wins(made_up, study):
    lower, higher = ("better", "worse") if study.mode == "min" else ("worse", "better")
    for values, verdict in ((LOWER, lower), (SAME, "undecided"), (HIGHER, higher)):
        for arm in study.arms[1:]:
            results = {a.name: ALONE for a in study.arms}
            outcome = made_up(study, results | {arm.name: values}, 1)
            assert outcome.against_baseline()[arm.name].verdict == verdict
            assert said(outcome, arm.name).startswith(WORDS[verdict])
            for other in study.arms[1:]:
                if other is not arm:
                    assert said(outcome, other.name).startswith(WORDS["undecided"])


def test_the_page_says_what_was_found(tree, outcomes):
    shown = text(tree)
    assert "inverted is better than the student alone" in shown
    assert "traditional is worse than the student alone" in shown
    assert "inverted, random cannot be told from the student alone" in shown
    assert "traditional, random is better than the student alone" in shown
    assert all(finding(outcome) in shown for outcome in outcomes)


def test_nobody_is_said_to_win_when_nothing_is_decided(made_up):
    made = [
        made_up(study, {a.name: ALONE if a.teacher == "none" else SAME for a in study.arms}, 1)
        for study in (DEPTH_STUDY, DIGITS_STUDY)
    ]
    shown = text(parsed(make_page(made, minutes=1, jobs=2, short=False))).lower()
    assert shown.count(WORDS["undecided"]) == 5
    assert not re.search(
        r"better than|worse than|best|beats|winn|outperform|improve|superior|gains?\b|helps\b",
        shown,
    )


def test_a_quick_run_says_so_and_a_full_one_does_not(made_up, tree):
    short = [
        made_up(quick(DEPTH), {name: v[:2] for name, v in DEPTH_RESULTS.items()}, 1),
        made_up(quick(DIGITS), {name: v[:2] for name, v in DIGITS_RESULTS.items()}),
    ]
    shown = text(parsed(make_page(short, minutes=0.5, jobs=2, short=True)))
    assert "quick run: far too few steps for the numbers to mean anything" in shown
    assert "anyteacher demo --quick" in shown
    assert "quick" not in text(tree)


def test_how_it_was_run(tree, outcomes):
    facts = {
        pair.findtext("dt"): "".join(pair.find("dd").itertext())
        for pair in tree.iter("div")
        if pair.find("dt") is not None
    }
    assert facts["command"] == "anyteacher demo"
    assert facts["trainings"] == f"{4 * 3 + 3 * 3} in 3.2 minutes, 2 at a time on one thread each"
    assert (facts["seeds, depth"], facts["seeds, digits"]) == ("0 to 2", "0 to 2")
    assert facts["PyTorch"] == torch.__version__
    for outcome in outcomes:
        links = facts[f"links, {outcome.study.name}"]
        for arm in outcome.study.arms[1:]:
            assert f"{arm.name}: weight {arm.weight:g}, {arm.compare}" in links
        assert "alone" not in links


def test_sizes_in_the_text_are_the_studies(made_up):
    study = replace(DEPTH_STUDY, train_size=48, test_size=77)
    digits = replace(DIGITS_STUDY, train_size=31)
    made = [made_up(study, DEPTH_RESULTS, 1), made_up(digits, DIGITS_RESULTS)]
    shown = text(parsed(make_page(made, minutes=1, jobs=2, short=False)))
    assert "from 48 generated rooms" in shown
    assert "tested on 77 others" in shown
    assert "from 31 labelled ones" in shown
    assert "3 seeds, 20 steps each" in shown


def test_the_charts_hold_the_results(page):
    for section, results, factor in zip(
        page.sections, (DEPTH_RESULTS, DIGITS_RESULTS), (1, 100), strict=False
    ):
        lines = next(b for b in section.blocks if isinstance(b, LineChart))
        intervals = next(b for b in section.blocks if isinstance(b, IntervalChart))
        assert [series.label for series in lines.series] == list(results)
        for series in lines.series:
            assert list(series.x) == list(range(1, 21, 2))  # steps done, not places
            mean = statistics.fmean(results[series.label])
            expected = [factor * (mean + 1 / (step + 2)) for step in range(0, 20, 2)]
            assert list(series.y) == pytest.approx(expected)
        assert [row.label for row in intervals.rows] == list(results)[1:]
        for row in intervals.rows:
            gap = statistics.fmean(results[row.label]) - statistics.fmean(ALONE)
            assert row.value == pytest.approx(factor * gap)
        assert intervals.mode == ("min" if factor == 1 else "max")


def test_curves_keep_to_the_steps_that_all_runs_have(made_up):
    outcome = made_up(DEPTH_STUDY, DEPTH_RESULTS, 1)
    del outcome.runs["inverted"][1].curve[0]
    section = make_page([outcome], minutes=1, jobs=2, short=False).sections[0]
    lines = next(b for b in section.blocks if isinstance(b, LineChart))
    assert [s.x[0] for s in lines.series] == [1, 1, 3, 1]


def picture(tree, table_index, alt):
    tables = [t for t in tree.iter("table") if t.get("class") == "pictures"]
    [found] = [image for image in tables[table_index].iter("img") if image.get("alt") == alt]
    data = found.get("src").removeprefix("data:image/png;base64,")
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def doubled(image):
    return image.repeat_interleave(2, 1).repeat_interleave(2, 2)


def test_every_picture_stands_in_its_place(tree, outcomes):
    depth = outcomes[0]
    truth = depth.targets
    for scene in range(4):
        shown = picture(tree, 0, f"scene {scene + 1}: truth")
        assert torch.equal(shown, doubled(pictures.depth(truth)[scene]))
        shown = picture(tree, 1, f"scene {scene + 1}: input")
        assert torch.equal(shown, doubled(pictures.image(depth.images)[scene]))
        for arm in DEPTH.arms:
            prediction = depth.runs[arm.name][0].predictions  # of the first seed
            shown = picture(tree, 0, f"scene {scene + 1}: {arm.name}")
            assert torch.equal(shown, doubled(pictures.depth(prediction, truth)[scene]))
            error = pictures.error((prediction - truth).abs() / truth, 0.5)
            shown = picture(tree, 1, f"scene {scene + 1}: {arm.name}")
            assert torch.equal(shown, doubled(error[scene]))
    assert len(list(tree.iter("img"))) == 4 * (6 + 5)


def test_unknown_depth_has_no_error(made_up):
    outcome = made_up(DEPTH_STUDY, DEPTH_RESULTS, 1)
    outcome.targets[:, :, :32] = 0
    outcome.runs["inverted"][0].predictions[:] = outcome.targets
    shown = picture(
        parsed(make_page([outcome], minutes=1, jobs=2, short=False)), 1, "scene 1: inverted"
    )
    nothing = pictures.error(torch.tensor([[[[0.0, torch.nan]]]]), 0.5)[0, :, 0]
    assert (shown[:, 64:] == nothing[:, :1, None]).all()
    assert (shown[:, :64] == nothing[:, 1:, None]).all()


def test_columns_of_the_picture_file(outcomes):
    columns = depth_columns(outcomes[0])
    assert list(columns) == ["input", "truth", *DEPTH_RESULTS]
    assert {tuple(column.shape) for column in columns.values()} == {(4, 3, 64, 64)}
    assert {column.dtype for column in columns.values()} == {torch.uint8}


def test_one_file_below_three_megabytes_that_loads_nothing(page):
    """With pictures of noise, which hardly compress."""
    html = page.html()
    assert len(html.encode()) < 3_000_000
    assert not re.search(r"https?:|@import|url\(|<script|\b(src|href)=\"(?!data:|#)", html)
