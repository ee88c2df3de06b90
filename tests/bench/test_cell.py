import json
import subprocess
import sys
from dataclasses import replace

import pytest
from cells import ALONE, TAUGHT, TINY

from anyteacher import losses, methods
from anyteacher.bench.cell import FORMS, Arm, Cell, Choice, _links
from anyteacher.bench.variants import VARIANTS
from anyteacher.errors import ConfigError
from anyteacher.instantiation import instantiate
from anyteacher.parsers import make_parser

TRAIL = Arm("classification", 16, "tiny", method="TrailingEnergy(rank=0.25)")
FROM_DEPTH = Arm("segmentation", 16, "tiny", "depth", "tiny", "fitnet", "traditional")


def made(cell, **changes):
    parser, _ = make_parser("fit", "")
    experiment, trainer = instantiate(parser, parser.parse_object({**cell.settings(), **changes}))
    return experiment, trainer


def test_the_key_is_the_same_whatever_computes_it(cell):
    program = (
        "from anyteacher.bench.cell import *; from anyteacher.bench.problems import Budget;"
        "print(Cell('comparison', Arm('depth', 16, 'tiny', 'random', 'tiny', 'inverted', "
        "'inverted'), Choice(), 0, Budget(4, 8, 16, 8, 8, 2)).key)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == cell(TAUGHT).key == "08f3dc4db38ed133"


@pytest.mark.parametrize(
    "changes", [{"weight": 2.0}, {"loss": losses.LogSum()}, {"student_norm": "layer"}], ids=str
)
def test_what_a_method_stands_for_is_in_the_key(cell, monkeypatch, changes):
    """Its weight, say, may come to be another: the old runs are then not those asked for."""
    usual = methods.inverted

    def other(student, teacher, *, direction="inverted", weight=1.0, of=""):
        return [link.filled(**changes) for link in usual(student, teacher)]

    before = cell(TAUGHT).key
    assert cell(TAUGHT).links()[0]["weight"] == 0.1
    try:
        monkeypatch.setattr(methods, "inverted", other)
        _links.cache_clear()
        assert cell(TAUGHT).key != before
    finally:
        monkeypatch.undo()
        _links.cache_clear()


def test_whatever_decides_the_result_is_in_the_key(cell):
    cells = [
        cell(),
        cell(seed=1),
        cell(replace(ALONE, task="edges")),
        cell(replace(ALONE, images=17)),
        cell(replace(ALONE, student="small")),
        cell(choice=Choice(lr=0.1)),
        cell(choice=Choice(weight_decay=0.1)),
        cell(TAUGHT),
        cell(TAUGHT, seed=1),
        cell(replace(TAUGHT, direction="traditional")),
        cell(replace(TAUGHT, method="fitnet")),
        cell(replace(TAUGHT, teacher_network="small")),
        cell(TAUGHT, Choice(weight=0.1)),
        cell(TAUGHT, Choice(tap="middle")),
        *(cell(TAUGHT, Choice(form=form)) for form in FORMS if form != "own"),
        *(cell(replace(TAUGHT, variant=name)) for name in VARIANTS),
        *(cell(budget=replace(TINY, **{part: 16})) for part in ("steps", "batch", "test")),
    ]
    assert len({cell.key for cell in cells}) == len(cells)
    assert cell(stage="selection").key == cell().key


def test_a_taught_cell_is_an_experiment(cell):
    experiment, trainer = made(cell(TAUGHT, Choice(tap="middle", form="pooled, batch", weight=3.0)))
    (link,) = experiment.distillation.resolved()
    assert (str(link.student), str(link.teacher)) == ("encoder.2", "encoder.2")
    assert (link.direction, link.compare, link.weight) == ("inverted", "pooled", pytest.approx(0.3))
    assert (link.student_norm, link.teacher_norm) == ("batch", "batch")
    assert trainer["max_steps"] == 4


def test_a_regularised_cell_is_an_experiment(cell):
    experiment, _ = made(cell(TRAIL))
    (link,) = experiment.distillation.resolved()
    assert link.teacher_taps == ()
    assert type(link.loss).__name__ == "TrailingEnergy"
    assert experiment.teacher is None


def test_alone_nothing_is_distilled(cell):
    experiment, _ = made(cell())
    assert experiment.distillation.resolved() == ()
    assert ALONE.alone
    assert not TRAIL.alone


def test_a_trained_teacher_is_named_by_its_run(cell):
    teacher = cell(stage="teacher", seed=1000)
    taught = cell(FROM_DEPTH, teacher=teacher)
    arguments = taught.settings()["teacher"]["init_args"]
    assert arguments["weights"] == f"runs/{teacher.key}/student.safetensors"
    assert arguments["model"]["init_args"]["out_channels"] == 1
    other = cell(stage="teacher", seed=1001)
    assert cell(FROM_DEPTH, teacher=other).key != taught.key
    assert taught.description()["teacher_run"] == teacher.key


def test_cells_are_plain_data(cell):
    assert json.loads(json.dumps(cell(TAUGHT).settings())) == cell(TAUGHT).settings()
    assert TAUGHT.name == "inverted from random, inverted"
    assert ALONE.name == "alone"
    assert TRAIL.name == "TrailingEnergy(rank=0.25)"
    assert replace(TAUGHT, variant="raw").name == "inverted from random, inverted, raw"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("deep", 16, "tiny"), "no task 'deep'"),
        (("depth", 16, "tinny"), "no dense network 'tinny'"),
        (("depth", 16, "tiny", "random", "tinny", "fitnet"), "no dense network 'tinny'"),
        (("depth", 16, "tiny", "random", "tiny", "fitnett"), "no method 'fitnett'"),
        (("depth", 16, "tiny", "none", "tiny"), "nothing to project"),
        (("depth", 16, "tiny", "none", "", "fitnet"), "fitnet needs a teacher"),
        (("depth", 16, "tiny", "none", "", "", "none", "raw"), "nothing to project"),
        (
            ("depth", 16, "tiny", "random", "tiny", "fitnet", "inverted", "row"),
            r"no variant 'row'\. Did you mean raw",
        ),
    ],
)
def test_arms_that_cannot_be(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Arm(*arguments)


def test_a_teacher_and_its_run_belong_together(cell):
    with pytest.raises(ConfigError, match="its run is missing"):
        cell(FROM_DEPTH)
    with pytest.raises(ConfigError, match="its run is given"):
        cell(teacher=cell(stage="teacher", seed=1000))
    with pytest.raises(ConfigError, match=r"not compared 'pool'\. Did you mean pooled"):
        Choice(form="pool")
    assert isinstance(cell(), Cell)
