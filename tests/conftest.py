"""What all tests share: shapes and types are checked at run time, one thread, the same seed."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from jaxtyping import config, install_import_hook

# Before anything imports the package: every annotated function of the core checks its arguments.
_CHECKED = (
    "analysis",
    "connection",
    "decomposition",
    "layout",
    "level",
    "link",
    "losses",
    "methods",
    "normalization",
    "observation",
    "parallel",
    "projectors",
    "recorder",
    "regularization",
    "regularizers",
    "spectral",
    "taps",
    "teacher",
    "teaching",
    "weights",
    "window",
)
install_import_hook([f"anyteacher.{name}" for name in _CHECKED], "beartype.beartype")

settings.register_profile("default", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("default")
torch.set_num_threads(1)

# What tests share with the scripts that they start, and what makes the tables of the documentation.
sys.path += [str(Path(__file__).parent / folder) for folder in ("programs", "contracts", "../docs")]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def program():
    """Runs a script of `tests/programs` to its good end, with one thread; gives what it printed."""

    def run(name, *arguments):
        done = subprocess.run(
            [sys.executable, Path(__file__).parent / "programs" / name, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def unchecked():
    """Switches the run-time checks off, to reach the errors that callers without them get."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


_DIGITS = Path(__file__).parent / "programs" / "digits.yaml"


@pytest.fixture
def call(capsys):
    """Runs the command; gives its status, and what it printed to either side."""

    cli = importlib.import_module("anyteacher.cli")  # after the hook above

    def run(*arguments):
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on digits, made by the command."""
    cli = importlib.import_module("anyteacher.cli")
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert cli.main(["fit", f"--config={_DIGITS}", f"--output={folder}"]) == 0
    return folder
