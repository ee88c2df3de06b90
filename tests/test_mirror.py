"""Tests mirror the source file by file: `a/b.py` is tested by `tests/a/test_b.py`."""

import ast
from pathlib import Path

import pytest

import anyteacher

SOURCE, TESTS = Path(anyteacher.__file__).parent, Path(__file__).parent

# Modules without a test file of their own, each with the reason. None so far; keep it so.
EXCEPTIONS: dict[str, str] = {}

MODULES = sorted(
    path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if path.name != "__init__.py"
)


def mirrored(module: Path) -> Path:
    """Where the tests of a module are; a private one's leading underscore is dropped."""
    return TESTS / module.with_name(f"test_{module.name.lstrip('_')}")


def names_of_tests(path: Path) -> list[str]:
    """The names of the tests in a file, in classes too."""
    nodes = ast.walk(ast.parse(path.read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [n.name for n in nodes if isinstance(n, kinds) and n.name.startswith("test_")]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_tests_of_its_own(module):
    path = mirrored(module)
    if module.as_posix() in EXCEPTIONS:
        assert not path.exists(), f"{module} has tests by now: take it off the list of exceptions."
        return
    assert path.exists(), f"{module} has no tests: write tests/{path.relative_to(TESTS)}."
    assert names_of_tests(path), f"tests/{path.relative_to(TESTS)} holds no test."


def test_exceptions_are_of_modules_that_exist_and_have_a_reason():
    assert set(EXCEPTIONS) <= {module.as_posix() for module in MODULES}
    assert all(reason.strip() for reason in EXCEPTIONS.values())


def test_no_two_modules_share_a_file_of_tests():
    assert len({mirrored(module) for module in MODULES}) == len(MODULES)
    assert len(MODULES) > 50
