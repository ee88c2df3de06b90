import pytest

from anyteacher.bench.problems import PROBLEMS, ROOMS, Budget, problem
from anyteacher.data.rooms import TARGETS
from anyteacher.errors import ConfigError
from anyteacher.instantiation import instantiate
from anyteacher.parsers import make_parser


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_task_is_made_from_its_settings_with_its_student_and_data(name):
    posed = problem(name)
    parser, _ = make_parser("fit", "")
    settings = {
        "task": dict(posed.task),
        "student": posed.build("tiny"),
        "data": posed.data(100, 3, Budget(2, pixels=16, looks=1)),
    }
    made, _ = instantiate(parser, parser.parse_object(settings))
    made.task.check_data(made.data.facts())
    assert made.task.out_channels == posed.outputs
    assert (made.task.monitor, made.task.mode) == (posed.monitor, posed.mode)
    assert made.task.kind == ("dense" if posed.kind == "dense" else "global")
    assert made.data.seed == 3


def test_the_rooms_have_a_task_for_each_target_but_one():
    assert [PROBLEMS[name].target for name in ROOMS] == [
        "segmentation",
        "depth",
        "normals",
        "edges",
        "relit",
        "presence",
    ]
    assert set(TARGETS) - {PROBLEMS[name].target for name in ROOMS} <= {"image", "count"}


def test_wrong_settings():
    with pytest.raises(ConfigError, match=r"no task 'dept'. Did you mean depth"):
        problem("dept")
    with pytest.raises(ConfigError, match="There are 1197 digits to train on, not 2000"):
        problem("digits").data(2000, 0, Budget(10))
    with pytest.raises(ConfigError, match="25 steps cannot hold 10 evenly spread validations"):
        Budget(25)
