import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from hatchling.build import build_wheel
from PIL import Image
from rich.console import Console

from anyteacher.demo import run as run_module
from anyteacher.demo.outcome import Run
from anyteacher.demo.plan import DEPTH, DIGITS
from anyteacher.demo.run import run_demo, run_one, run_studies
from anyteacher.errors import ConfigError

TINY_DEPTH = replace(DEPTH, seeds=(0, 1), steps=1, train_size=16, val_size=4, test_size=2)
TINY_DIGITS = replace(DIGITS, seeds=(0, 1), steps=2)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The whole demonstration in two processes, with tiny studies; and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANYTEACHER_CACHE", str(folder / "cache"))
        patch.setattr(run_module, "DEPTH", TINY_DEPTH)
        patch.setattr(run_module, "DIGITS", TINY_DIGITS)
        console = Console(file=printed, width=120)
        patch.setattr(run_module, "Console", lambda: console)
        page = run_demo(folder / "new" / "out", jobs=2)
        # In this process, one after the other, in another order.
        alone = {
            (study.name, arm.name, 1): run_one(study, arm, 1)
            for study in (TINY_DIGITS, TINY_DEPTH)
            for arm in reversed(study.arms)
        }
    return page, printed.getvalue(), alone


def test_the_demonstration_writes_its_three_files_and_nothing_else(finished):
    page, _, _ = finished
    assert page.name == "report.html"
    names = {path.name for path in page.parent.iterdir()}
    assert names == {"report.html", "results.json", "depth.png"}
    html = page.read_text(encoding="utf-8")
    for study in (TINY_DEPTH, TINY_DIGITS):
        assert all(f">{arm.name}</th>" in html for arm in study.arms)
    with Image.open(page.with_name("depth.png")) as picture:
        assert picture.width > 6 * 64
        assert picture.height > 2 * 64


def test_two_processes_give_what_one_gives(finished):
    """The results do not depend on the number of jobs, nor on what ran before."""
    page, _, alone = finished
    record = json.loads(page.with_name("results.json").read_text())
    assert record["short"] is False
    assert record["machine"]["PyTorch"] == torch.__version__
    seen = 0
    for made, study in zip(record["studies"], (TINY_DEPTH, TINY_DIGITS), strict=True):
        assert made["seeds"] == list(study.seeds)
        for by_arm, arm in zip(made["arms"], study.arms, strict=True):
            first, second = by_arm["runs"]
            expected = alone[study.name, arm.name, 1]
            assert second["metrics"] == expected.metrics
            assert [tuple(point) for point in second["curve"]] == expected.curve
            if study is TINY_DEPTH:  # two steps leave the digits near chance, maybe equally so
                assert first["metrics"] != second["metrics"]
            seen += 1
    assert seen == len(alone) == 7


def test_the_terminal_shows_both_tables_and_where_the_page_is(finished):
    page, printed, _ = finished
    assert "Depth: 2 seeds, 1 steps each" in printed
    assert "Digits: 2 seeds, 2 steps each" in printed
    assert "14/14 trainings" in printed
    assert str(page) in printed.replace("\n", "")
    assert "too short" not in printed


@pytest.fixture
def threads(monkeypatch):
    """Threads instead of processes, to see what is run."""

    def pool(jobs, context, initializer, initargs):
        return ThreadPoolExecutor(jobs)

    monkeypatch.setattr(run_module, "ProcessPoolExecutor", pool)


def quiet():
    return Console(file=io.StringIO())


def test_a_training_that_fails_cancels_the_rest(threads, monkeypatch):
    started, lock = [], threading.Lock()

    def fail(study, arm, seed):
        with lock:
            started.append(seed)
        time.sleep(0.02)
        raise ConfigError(f"seed {seed} cannot be")

    monkeypatch.setattr(run_module, "run_one", fail)
    with pytest.raises(ConfigError, match="seed 0 cannot be"):
        run_studies([replace(TINY_DIGITS, seeds=tuple(range(50)))], 1, quiet())
    assert len(started) < 50


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_go_to_their_arm_and_seed_whatever_ends_first(threads, monkeypatch, jobs):
    study = replace(TINY_DIGITS, seeds=(0, 1, 2, 3))

    def late(study, arm, seed):
        time.sleep(0.002 * (3 - seed))
        return Run({"top1": 10.0 * study.arms.index(arm) + seed}, [(0, 0.5)], 1.0, torch.empty(0))

    monkeypatch.setattr(run_module, "run_one", late)
    [outcome] = run_studies([study], jobs, quiet())
    assert list(outcome.runs) == [arm.name for arm in study.arms]
    for place, arm in enumerate(study.arms):
        assert outcome.values(arm, "top1") == [10.0 * place + seed for seed in study.seeds]


@pytest.fixture
def asked(monkeypatch, made_up):
    """What `run_demo` asks for, without running it."""
    found = []

    def pretend(studies, jobs, console):
        found.append((studies, jobs))
        results = [{a.name: [0.5] * len(s.seeds) for a in s.arms} for s in studies]
        return [made_up(s, r, 1) for s, r in zip(studies, results, strict=True)]

    monkeypatch.setattr(run_module, "run_studies", pretend)
    return found


def test_a_full_run_is_the_plan_on_every_core(asked, tmp_path, monkeypatch, capsys):
    for cores, jobs in ((3, 3), (500, 16), (1, 1)):
        monkeypatch.setattr(run_module, "usable_cores", lambda cores=cores: cores)
        run_demo(tmp_path)
        assert asked[-1] == ([DEPTH, DIGITS], jobs)
    run_demo(tmp_path, jobs=7)
    assert asked[-1][1] == 7
    assert "mean nothing" not in capsys.readouterr().out


def test_a_quick_run_is_short_and_says_so(asked, tmp_path, capsys):
    page = run_demo(tmp_path, short=True)
    [(studies, _)] = asked
    assert [study.name for study in studies] == ["depth", "digits"]
    assert all(study.steps < 10 for study in studies)
    assert "far too short: the numbers mean nothing" in capsys.readouterr().out
    assert "quick run" in page.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "results.json").read_text())["short"] is True


def test_a_second_run_replaces_the_first(asked, tmp_path):
    run_demo(tmp_path, short=True)
    run_demo(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["short"] is False
    assert len(list(tmp_path.iterdir())) == 3


PACKAGED = ("demo/rooms-segmentation.safetensors", "report/page.css", "py.typed")


def test_what_is_no_python_is_found_beside_it():
    assert all((files("anyteacher") / name).is_file() for name in PACKAGED)


def test_a_wheel_holds_what_is_no_python(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        for name in PACKAGED:
            packed = wheel.read(f"anyteacher/{name}")
            assert packed == (ROOT / "src" / "anyteacher" / name).read_bytes()
        assert not [name for name in wheel.namelist() if name.startswith(("tests", "src"))]
