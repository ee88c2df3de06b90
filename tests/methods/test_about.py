import inspect
import re

import pytest

from anyteacher import methods
from anyteacher.losses import DIRECTIONS
from anyteacher.methods.about import about, arguments_of, known

NAMES = sorted(methods.__all__)


def test_the_methods_are_the_public_functions_of_the_package():
    public = {
        name
        for name, value in vars(methods).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert list(known()) == NAMES
    assert set(NAMES) == public


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_says_what_the_authors_did(name):
    told = about(name)
    assert re.search(r"\b(19|20)\d\d\b", told.source)
    assert all(text.endswith(".") for text in (told.summary, told.source, told.taps))
    assert re.match(r"\w+", told.original)[0] in told.directions
    assert "  " not in told.source + told.taps + told.original + told.weight
    assert (methods.__name__, told.family) == tuple(known()[name].__module__.rsplit(".", 1))


@pytest.mark.parametrize("name", NAMES)
def test_the_weight_stated_is_the_default(name):
    number, _, origin = about(name).weight.partition(",")
    default = inspect.signature(known()[name]).parameters["weight"].default
    assert float(number) == default == about(name).links[0].weight
    assert re.match(r" (the authors'|ours|of )", origin)


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_alike(name):
    parameters = inspect.signature(known()[name]).parameters
    assert list(parameters)[:2] == ["student", "teacher"]
    assert {"direction", "weight", "of"} <= set(parameters)
    rest = list(parameters.values())[2:]
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in rest)
    default = parameters["direction"].default
    assert (
        default
        == (
            ["inverted"]
            if "inverted" in about(name).directions
            else {"ab": ["traditional"]}.get(name, ["none"])
        )[0]
    )


def test_what_it_tells_of_one():
    told = about("crd")
    assert (told.family, told.directions) == ("information", DIRECTIONS)
    assert list(told.arguments) == ["samples"]
    assert told.source.startswith("Tian, Krishnan and Isola")
    assert told.weight == "0.8, the authors'."
    assert not arguments_of(known()["fitnet"])
