import inspect

import pytest
from jsonargparse import ArgumentParser

from anyteacher import losses, methods, projectors
from anyteacher.errors import ConfigError
from anyteacher.hints import KINDS, catalogue, cause, explain, known_classes
from anyteacher.losses import FeatureLoss
from anyteacher.parsers import make_parser
from anyteacher.projectors import Projector


@pytest.mark.parametrize(("base", "package"), [(FeatureLoss, losses), (Projector, projectors)])
def test_every_public_class_is_known(base, package):
    public = {
        name
        for name, value in vars(package).items()
        if isinstance(value, type) and issubclass(value, base) and not inspect.isabstract(value)
    }
    assert {cls.__name__ for cls in known_classes(base)} == public


def test_the_catalogue_has_a_line_for_every_kind():
    text = catalogue()
    for kind, bases in KINDS.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{kind}:"))
        assert all(cls.__name__ in line for cls in known_classes(*bases))
    assert "anyteacher.models.EncoderDecoder" in text
    assert f"  methods:      {', '.join(sorted(methods.__all__))}\n" in text


def test_classes_of_others_and_private_ones_are_not_listed():
    class Mine(FeatureLoss):
        def forward(self, student, teacher):
            return student.sum()

    assert "Mine" not in {cls.__name__ for cls in known_classes(FeatureLoss)}
    assert not any(
        cls.__name__.startswith("_") for bases in KINDS.values() for cls in known_classes(*bases)
    )


def test_the_cause_is_found_behind_others():
    reason, account, last = ConfigError("the reason"), ValueError("an account"), KeyError("x")
    account.__cause__, last.__context__ = reason, account
    assert cause(last) is reason
    assert cause(ValueError("nothing behind")) is None


def test_a_message_that_is_not_known_comes_through_in_one_line():
    message = 'Parser key "config":\n   File is\n   not there.'
    assert explain(message, ArgumentParser()) == "config: File is not there."


def test_settings_of_what_a_command_can_be_asked_for_are_known():
    parser, _ = make_parser("bench", "")
    told = explain("unrecognized arguments: --jbs=2", parser)
    assert told == "no setting 'jbs'. Did you mean jobs?"


def test_what_is_in_a_list_has_no_number():
    nested = (
        "Parser key \"distillation.links\":\n  Problem with given class_path 'anyteacher.Link':\n"
        "    unrecognized arguments: --0.loss=L1"
    )
    plain = "unrecognized arguments: --distillation.links[1].loss"
    for message, said in ((nested, "'0.loss'"), (plain, "'distillation.links[1].loss'")):
        found = explain(message, ArgumentParser())
        assert f"no setting {said}: what is in a list has no number." in found
        assert "Write --distillation.links.loss VALUE for the last one" in found
        assert "--distillation.links='[" in found
        assert "Known" not in found


def test_a_wrong_setting_of_a_link_is_compared_with_those_of_links():
    message = (
        "Parser key \"distillation.links\":\n  Problem with given class_path 'anyteacher.Link':\n"
        "    unrecognized arguments: --los=L1"
    )
    expected = "distillation.links: anyteacher.Link takes no 'los'. Did you mean loss?"
    assert explain(message, ArgumentParser()) == expected
