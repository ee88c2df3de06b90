"""What tests of the benchmark share: runs of two steps on scenes of 16 pixels, made once."""

import pytest
from cells import ALONE, TINY

from anyteacher.bench.cell import Cell, Choice


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Rooms are rendered once for all these tests, and into no one's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANYTEACHER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cell():
    """Makes a cell; what is not given is the same in all."""

    def make(arm=ALONE, choice=None, seed=0, *, stage="comparison", budget=TINY, teacher=None):
        return Cell(stage, arm, choice or Choice(), seed, budget, teacher)

    return make
