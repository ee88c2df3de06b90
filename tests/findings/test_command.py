"""`anyteacher analyze` as a person uses it."""

import json
import math
import re
import shutil
import xml.etree.ElementTree as ET

import browser
import pytest
import torch
from fits import ALONE, TRAILING, fit

from anyteacher import cli


@pytest.fixture
def call(capsys):
    """Runs the command; gives its status, and what it printed to either side."""

    def run(*arguments):
        capsys.readouterr()
        status = cli.main(["analyze", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def page_of(path):
    return ET.fromstring(path.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>"))


def test_one_run_has_its_page_in_its_folder(call, runs, tmp_path):
    folder = runs["taught-0"]
    status, out, _ = call(folder)
    path = folder / "analysis.html"
    assert status == 0
    assert f"The page is in {path}." in out
    assert re.search(r"taught-0 +0 +top1 ", out)
    captions = {e.text for e in page_of(path).iter("figcaption")}
    assert captions == {
        "On the validation data during training",
        "The two terms of the loss",
        "Singular values of the projector",
        "Effective ranks",
        "The teacher's principal directions",
        "Energy by principal direction",
    }
    if browser.BROWSER is not None:
        assert browser.complaints(path, tmp_path) == []
        found = browser.seen(path, tmp_path)
        assert browser.not_drawn(found) == []
        assert len(found["seen"]) == 6 + 1 + 4 * 4
    path.unlink()


def test_arms_are_compared_seed_by_seed(call, runs, tmp_path):
    for folder in runs.values():
        assert cli.main(["test", str(folder)]) == 0
    path = tmp_path / "page.html"
    order = [runs[f"{name}-{seed}"] for name in ("alone", "taught", "trail") for seed in (0, 1)]
    status, out, _ = call(*order, f"--output={path}", "--images=64")
    assert status == 0
    assert re.search(r"Paired differences from alone *\n", out)
    assert re.search(r"taught +\S+ \[\S+, \S+\] +2 +\d of 2", out)
    shown = " ".join("".join(page_of(path).itertext()).split())
    assert "6 runs in 3 arms" in shown
    assert "difference in test top1" in shown
    assert "64 a run, in whole batches" in shown
    assert "The student's stages.1: energy by principal direction" in shown
    if browser.BROWSER is not None:
        assert browser.complaints(path, tmp_path) == []
        assert browser.not_drawn(browser.seen(path, tmp_path, width=500)) == []
        assert browser.seen(path, tmp_path, width=1100)["scrolls"] == []
    for folder in runs.values():
        (folder / "test.json").unlink()


def test_a_run_without_a_finite_result_is_named_and_the_page_is_written(call, runs, tmp_path):
    copies = [moved(runs[name], tmp_path / name) for name in ("alone-0", "alone-1")]
    copies += [moved(runs[name], tmp_path / name) for name in ("taught-0", "taught-1")]
    log = copies[3] / "curves.csv"
    log.write_text(re.sub(r"(?m)^(\d+,val/top1),.*$", r"\1,nan", log.read_text()))
    status, out, _ = call(*copies, f"--output={tmp_path / 'page.html'}")
    assert status == 0
    assert f"the run in `{copies[3]}` has nan for it" in out
    shown = " ".join("".join(page_of(tmp_path / "page.html").itertext()).split())
    assert f"the run in {copies[3]} has nan for it" in shown
    assert "– (nan)" in shown
    assert "The features of taught" in shown


def test_features_that_are_not_finite_leave_the_other_runs_their_page(call, runs, tmp_path):
    broken = moved(runs["taught-0"], tmp_path / "taught-0")
    path = broken / "checkpoints" / "best.ckpt"
    state = torch.load(path, weights_only=True)
    weight = next(w for n, w in state["state_dict"].items() if "student." in n and w.ndim == 4)
    weight.fill_(math.nan)
    torch.save(state, path)
    status, _, error = call(broken)
    assert status == 2
    assert "infinite or not a number" in error
    status, _, _ = call(broken, runs["taught-1"], f"--output={tmp_path / 'page.html'}")
    assert status == 0
    shown = " ".join("".join(page_of(tmp_path / "page.html").itertext()).split())
    assert f"The features of {broken} were not measured: Link 'stages.1<-" in shown
    assert "pictures, are of seed 1" in shown


def test_several_runs_have_their_page_beside_them(call, runs):
    path = runs["alone-0"].parent / "analysis.html"
    status, out, _ = call(runs["alone-0"], runs["trail-0"])
    assert status == 0
    assert path.is_file()
    assert "replaces" not in out
    # Other runs of the same folder have the same place: that another page goes is said.
    _, out, _ = call(runs["alone-1"], runs["trail-1"])
    assert f"The page is in {path}. It replaces the one that was there" in out
    path.unlink()


def test_arms_of_other_tasks_are_shown_and_not_compared(call, runs, tmp_path):
    path = tmp_path / "rooms.yaml"
    path.write_text(
        "task: Depth\n"
        "student: {class_path: anyteacher.models.EncoderDecoder, init_args: {out_channels: 1, "
        "width: 4}}\n"
        "data: {class_path: RoomsData, init_args: {train_size: 4, val_size: 4, test_size: 2, "
        "size: [16, 16], targets: [depth], batch_size: 2}}\n"
        "trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}\n"
    )
    other = tmp_path / "depth"
    assert cli.main(["fit", f"--config={path}", f"--output={other}"]) == 0
    status, out, _ = call(runs["taught-0"], other, f"--output={tmp_path / 'page.html'}")
    assert status == 0
    assert "The arms are not compared: they have no common metric" in out
    shown = " ".join("".join(page_of(tmp_path / "page.html").itertext()).split())
    assert "The features of depthIt has no links" in shown


def test_a_page_of_many_links_of_all_kinds_has_room_for_its_tables(call, tmp_path):
    links = [
        {"student": "stages.1", "teacher": "stages.1"},
        {"student": "stages.0", "teacher": "stages.0", "direction": "traditional"},
        {"student": "stages.1", "teacher": "stages.0", "compare": "pooled", "loss": "CKA"},
        {"student": "stages.1", "loss": TRAILING},
    ]
    folder = fit(tmp_path / "many", f"--distillation.links={json.dumps(links)}")
    alone = fit(tmp_path / "alone", *ALONE)
    path = tmp_path / "page.html"
    assert call(alone, folder, f"--output={path}")[0] == 0
    shown = " ".join("".join(page_of(path).itertext()).split())
    assert "regulariser" in shown
    assert "4 free" in shown
    if browser.BROWSER is not None:
        assert browser.seen(path, tmp_path, width=1000)["scrolls"] == []


def test_the_same_page_comes_again(call, runs, tmp_path):
    pages = []
    for name in ("a.html", "b.html"):
        assert call(runs["taught-1"], f"--output={tmp_path / name}")[0] == 0
        pages.append(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", (tmp_path / name).read_text()))
    assert pages[0] == pages[1]


def moved(run, folder):
    shutil.copytree(run, folder)
    return folder


def test_what_cannot_be_analysed_is_told_in_one_line(call, runs, tmp_path):
    unfinished = moved(runs["taught-0"], tmp_path / "unfinished")
    (unfinished / "student.safetensors").unlink()
    other = moved(runs["taught-0"], tmp_path / "other")
    config = other / "config.yaml"
    text = config.read_text()
    assert "- 6\n" in text
    config.write_text(text.replace("- 6\n", "- 7\n"))
    gone = moved(runs["taught-0"], tmp_path / "gone")
    config = gone / "config.yaml"
    config.write_text(
        text.replace(
            "anyteacher.models.ConvNet\n      init_args:\n        classes: 5",
            "nowhere.Net\n      init_args:\n        classes: 5",
        )
    )
    twin = moved(runs["taught-0"], tmp_path / "twin")
    cases = {
        (): "give the folder of a run",
        ("nowhere",): "'nowhere' is no run: it has no config.yaml",
        (tmp_path,): "is no run",
        (unfinished,): "is not finished: it has no student.safetensors",
        (runs["taught-0"], runs["taught-0"]): "is given twice",
        (runs["taught-0"], twin): "have the same settings and seeds",
        (runs["alone-0"],): "There is nothing to analyse",
        (runs["alone-0"], runs["alone-1"]): "There is nothing to analyse",
        (other,): f"The run in '{other}' cannot be analysed: ",
        (gone,): f"The run in '{gone}' cannot be analysed: ",
        (runs["taught-0"], "--images=1"): "two images or more, got --images 1",
        (runs["taught-0"], "--image=9"): "Did you mean images?",
        (runs["taught-0"], "--output=/dev/null/x.html"): "cannot be written",
    }
    for arguments, expected in cases.items():
        status, _, error = call(*arguments)
        assert (status, len(error.strip().splitlines())) == (2, 1), error
        assert error.startswith("anyteacher analyze: ")
        assert expected in error, error


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        (["--distillation.observe_every=0"], "Nothing of its spectra was logged"),
        (["--distillation=rkd"], "It compares one vector an image"),
        (["--distillation.direction=traditional"], "of the projected student: what lies along it"),
    ],
)
def test_runs_of_other_kinds_say_what_they_lack(call, tmp_path, flags, missing):
    folder = fit(tmp_path / "run", *flags)
    assert call(folder)[0] == 0
    assert missing in "".join(page_of(folder / "analysis.html").itertext())


def test_levels_and_projectors_of_several_have_their_sections(call, tmp_path):
    taps = '["stages.0", "stages.1"]'
    links = f'[{{"student": {taps}, "teacher": {taps}, "projector": "ABF", "loss": "HCL"}}]'
    folder = fit(tmp_path / "run", f"--distillation.links={links}")
    assert call(folder)[0] == 0
    titles = [heading.text for heading in page_of(folder / "analysis.html").iter("h2")]
    name = "stages.0+stages.1<-stages.0+stages.1"
    assert [f"The features: {name}[{i}]" for i in (0, 1)] == titles[2:4]
