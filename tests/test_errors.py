"""Errors on purpose, hints of near names, and what an extra is called."""

import ast
import inspect
import pickle
import re
import sys
from pathlib import Path

import pytest

import anyteacher
from anyteacher import errors
from anyteacher.errors import (
    AnyteacherError,
    CollapseWarning,
    MissingExtraError,
    did_you_mean,
    require,
)

ROOT = Path(anyteacher.__file__).parent
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_is_one_of_the_library_and_passes_between_processes(cls):
    assert issubclass(cls, AnyteacherError) or cls is CollapseWarning
    again = pickle.loads(pickle.dumps(cls("the message")))
    assert (type(again), str(again)) == (cls, "the message")


def test_a_missing_extra_is_an_import_error_too():
    with pytest.raises(ImportError):
        raise MissingExtraError("not there")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("layer5", ["layer3", "layer4", "fc"], "Did you mean layer4 or layer3?"),
        ("invertd", ["none", "inverted"], "Did you mean inverted?"),
        ("x", ["layer3", "fc", "fc"], "Known: fc, layer3."),
        ("x", [], "None is known."),
        ("x", iter(["fc"]), "Known: fc."),
    ],
)
def test_the_nearest_names_or_all_are_named(name, known, hint):
    assert did_you_mean(name, known) == hint


def test_a_hint_is_never_long():
    known = [f"blocks.{i}" for i in range(50)]
    assert did_you_mean("blocks.99", known).count("blocks") == 3
    assert did_you_mean("blocks.99", known, limit=1).count("blocks") == 1
    hint = did_you_mean("head", known)
    assert hint.count("blocks") == 20
    assert hint.endswith(", ….")
    assert did_you_mean("head", known[:20]).endswith("blocks.9.")


def test_what_is_installed_is_imported():
    assert require("json.decoder") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", sorted(errors._EXTRA_OF))
def test_a_missing_module_names_its_extra(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # as though it were not installed
    extra = errors._EXTRA_OF[module]
    command = re.escape(f"pip install 'anyteacher[{extra}]'")
    with pytest.raises(MissingExtraError, match=f"^This needs {module}, which .*{command}$"):
        require(module)
    with pytest.raises(MissingExtraError, match=command) as raised:
        require(f"{module}.part")
    assert isinstance(raised.value.__cause__, ImportError)
    declared = extras()[extra]
    assert DISTRIBUTIONS.get(module, module.replace("_", "-")) in declared


def extras():
    """The extras of pyproject.toml with the packages that they bring, read without a parser."""
    text = (ROOT.parents[1] / "pyproject.toml").read_text()
    table = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    found = re.findall(r"^(\w+) = \[(.*?)\]$", table, re.MULTILINE | re.DOTALL)
    return {name: re.findall(r'"([\w-]+)', packages) for name, packages in found}


def test_a_module_of_no_extra_is_missed_as_usual():
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as raised:
        require("no_such_module")
    assert not isinstance(raised.value, AnyteacherError)


def test_every_module_that_is_required_has_an_extra():
    required = {
        call.args[0].value
        for path in ROOT.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "require"
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(required) > 4
    for module in required:
        assert module.partition(".")[0] in errors._EXTRA_OF
