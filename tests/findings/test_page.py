"""The page: what it says whoever wins, what it says is missing, and that a browser draws it."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import browser
import pytest
import torch

from anyteacher.findings.arms import arms_of, compared, differences
from anyteacher.findings.detail import fitting
from anyteacher.findings.page import make_page
from anyteacher.report import write_page

DOCS = Path(__file__).parents[2] / "docs" / "analyze.md"


def made(found):
    return make_page(found, compared(found), differences(found))


def fitted(found):
    return fitting(
        lambda detail: make_page(found, compared(found), differences(found), detail), len(found)
    )


def text(page):
    tree = ET.fromstring(page.html().removeprefix("<!DOCTYPE html>"))
    return " ".join("".join(tree.find("body").itertext()).split())


def logged(link="a<-b", steps=range(0, 60, 3), width=3):
    names = ("transfer", "regularisation", "total", "projector_rank", "centred_rank", "energy")
    curves = {
        f"spectra/{link}/{n}": [(s, 1 / (s + 1 + i)) for s in steps] for i, n in enumerate(names)
    }
    for i in range(width):
        curves[f"spectra/{link}/singular_values/{i}"] = [(s, 2.0**-i / (s + 1)) for s in steps]
    return {**curves, "val/top1": [(s, 0.5) for s in steps]}


def test_arms_without_a_common_metric_are_not_compared(finding):
    arms = arms_of([finding("r/a"), finding("r/b", monitor="miou", settings={"task": {}})])
    assert "The arms are not compared: they have no common metric" in text(made(arms))


def said(finding, analysis, curves=None, **options):
    """The text of a page of one run."""
    return text(made(arms_of([finding("r/one", analysis=analysis, curves=curves, **options)])))


def test_what_is_missing_is_said_and_only_then(finding, analysis, measured):
    whole = said(finding, analysis(), logged())
    old = said(finding, analysis())
    assert "Nothing of its spectra was logged" in old
    assert "Nothing of its spectra was logged" not in whole
    alone = measured(teacher=None, projected=None, cka=None, directions=None, projector="")
    shown = said(finding, replace(analysis(alone), alignment=None), logged())
    assert "There is no teacher" in shown
    assert "There is no teacher" not in whole
    assert "What the student's features are like, measured" in shown
    assert "What the projectors do with the features, measured" in whole
    assert "the projectors'" in whole
    assert "projectors'" not in shown
    assert "signs of the other sides" not in shown
    shown = said(finding, analysis(measured(pictures={})), logged())
    assert "one vector an image, so there are no pictures" in shown
    assert "no pictures" not in whole
    shown = said(finding, analysis(measured(direction="none", projected=None, directions=None)))
    assert "Nothing is projected" in shown
    assert "not one matrix" not in shown
    assert "It has no links" in said(finding, None, linked=False)
    assert "shown at the taps of the other arms" in said(finding, analysis(alone), linked=False)


def test_why_a_link_has_no_terms_is_one_reason(finding, analysis, measured):
    """The made-up links have no decomposition."""
    matrix, positions = "is not one matrix: the loss has no two terms", "have different positions:"
    for changes, reason, other in (
        ({"projector": "MLP"}, f"MLP {matrix}", positions),
        ({"projector": ""}, f"Its projection {matrix}", positions),
        ({"projector": "Linear", "rank": 3}, positions, matrix),
    ):
        shown = said(finding, analysis(measured(**changes)))
        assert reason in shown
        assert other not in shown


def test_a_link_of_weight_zero_is_said_to_be_looked_at_alone(finding, analysis, measured):
    idle, untaught = "The link has weight 0, its own times distillation.weight", "no gradient"
    shown = said(finding, analysis(measured(weight=0.0)))
    assert idle in shown
    assert untaught in shown
    alone = {"teacher": None, "projected": None, "cka": None, "directions": None, "projector": ""}
    regularised = analysis(measured(weight=0.0, regularizer="TrailingEnergy(…)", **alone))
    shown = said(finding, replace(regularised, alignment=None))
    assert idle in shown
    assert untaught not in shown
    assert "its losses are of" not in shown
    assert idle not in said(finding, analysis(measured(weight=0.5)))
    assert idle not in said(finding, analysis(measured(weight=0.0)), linked=False)
    # Of several links, the one that has it.
    page = made(arms_of([finding(analysis=analysis(measured("x"), measured("y", weight=0.0)))]))
    assert [s.title for s in page.sections if "has weight 0" in s.text] == ["The features: y"]


def test_several_links_have_a_section_each(finding, analysis, measured):
    page = made(arms_of([finding(analysis=analysis(measured("x"), measured("y")))]))
    titles = [section.title for section in page.sections]
    assert titles == [
        "Results",
        "The features",
        "The features: x",
        "The features: y",
        "How it was measured",
    ]


def test_side_by_side_shows_the_same_tap_of_all_arms(finding, analysis, measured):
    one = finding("r/a", analysis=analysis(measured("l")), curves=logged("l"))
    other = finding(
        "r/b", analysis=analysis(measured("m")), curves=logged("m"), settings={"task": {}}
    )
    page = made(arms_of([one, other]))
    (section,) = [s for s in page.sections if s.title == "Side by side"]
    assert [block.title for block in section.blocks] == [
        "The student's a: energy by principal direction",
        "The student's a: effective rank during training",
    ]
    for block, said in zip(section.blocks, ("the first that", "which"), strict=True):
        assert [line.label for line in block.series] == ["a", "b"]
        assert f"Of seed 0, {said} both arms have." in block.note
    assert "seed" not in section.text
    elsewhere = finding(
        "r/b", analysis=analysis(measured("m", student_tap="c")), settings={"task": {}}
    )
    assert "Side by side" not in [s.title for s in made(arms_of([one, elsewhere])).sections]


def test_side_by_side_stands_one_seed_for_both_arms(finding, analysis, measured):
    def run(arm, seed, first, **options):
        energies = torch.tensor([first, 1.0]).double()
        found = analysis(measured("l", student=energies))
        return finding(f"r/{arm}-{seed}", seed=seed, analysis=found, curves=logged("l"), **options)

    one = [run("a", seed, 9.0 + seed) for seed in (1, 2)]
    other = [run("b", seed, 3.0 + seed, settings={"task": {}}) for seed in (0, 1)]
    page = made(arms_of([*one, *other]))
    (section,) = [s for s in page.sections if s.title == "Side by side"]
    energies, ranks = section.blocks
    shares = {line.label: line.y[0] for line in energies.series}
    assert shares == pytest.approx({"a": 1000 / 11, "b": 80.0})
    assert "Of seed 1, the first that both arms have." in energies.note
    assert "Of seed 1, which both arms have." in ranks.note


def test_the_documentation_names_every_figure_of_the_page_and_no_other(finding, analysis, measured):
    runs = [
        finding(
            f"runs/{arm}-{seed}",
            seed=seed,
            settings={"distillation": {"weight": weight}},
            curves=logged("l"),
            tested={"top1": 0.5 + 0.1 * seed * weight},
            analysis=analysis(measured("l")),
        )
        for arm, weight in (("one", 1.0), ("two", 2.0))
        for seed in (0, 1)
    ]
    blocks = [block for section in made(arms_of(runs)).sections for block in section.blocks]
    shown = {getattr(block, "title", "") or getattr(block, "caption", "") for block in blocks}
    shown = {
        re.sub(r"\bone$", "ARM", name).replace("student's a:", "student's TAP:") for name in shown
    }
    (part,) = re.findall(r"## What the page shows\n(.*?)\n## ", DOCS.read_text(), re.S)
    told = {" ".join(name.split()) for name in re.findall(r"\*\*(.*?)\*\*", part, re.S)}
    assert shown - {""} == told


@pytest.fixture(params=[(2, 5), (10, 1)], ids=["two arms", "ten arms"])
def large(request, finding, analysis, measured):
    """Ten runs, three links each, wide features, long logs and pictures of noise."""
    arms, seeds = request.param
    noise = {side: torch.randn(4, 3, 56, 56) for side in ("teacher", "projected", "student")}
    names = ["layer2<-blocks.5", "layer3<-blocks.8", "layer4<-blocks.11"]
    wide = torch.logspace(0, -4, 512).double()
    links = [
        measured(
            name, student_tap=name[:6], pictures=noise, student=wide, teacher=wide, projected=wide
        )
        for name in names
    ]
    images = torch.rand(4, 3, 224, 224)
    many = replace(analysis(*links), samples=images)
    curves = {}
    for name in names:
        curves |= logged(name, range(0, 100_000, 100), 128)
    return arms_of(
        [
            finding(
                f"runs/{arm}-{seed}",
                seed=seed,
                settings={"distillation": {"weight": float(weight)}},
                curves=curves,
                tested={"top1": 0.5 + 0.01 * seed * weight},
                analysis=many,
            )
            for weight, arm in enumerate("abcdefghij"[:arms], 1)
            for seed in range(seeds)
        ]
    )


def test_ten_runs_stay_below_three_megabytes_and_load_nothing(large):
    html = fitted(large).html()
    assert len(html.encode()) < 3_000_000
    assert not re.search(r"https?:|@import|url\(|<script|\b(src|href)=\"(?!data:|#)", html)
    # Pictures of one seed an arm: the image, and three sides of three links.
    samples = 4 if len(large) == 2 else 2
    assert html.count("<img") == len(large) * samples * (1 + 9)
    assert ("the page shows less of each" in html) == (samples < 4)


@pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium on PATH to open the page with")
def test_a_browser_draws_every_figure_of_ten_runs(large, tmp_path):
    path = tmp_path / "page.html"
    write_page(fitted(large), path)
    assert browser.complaints(path, tmp_path) == []
    found = browser.seen(path, tmp_path)
    assert browser.not_drawn(found) == []
    kinds = [figure["kind"] for figure in found["seen"]]
    # Two charts of results, the intervals only where seeds are shared; two a tap side by side; and
    # for each link of an arm four charts, and a heat map of its seeds.
    arms, seeds = len(large), len(large[0].findings)
    assert kinds.count("svg") == 1 + (seeds > 1) + 3 * 2 + arms * 3 * (4 + seeds)
    assert (kinds.count("table"), kinds.count("img")) == (arms, (80 if arms == 2 else 20 * arms))
    assert found["wide"] <= 0
