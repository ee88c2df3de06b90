"""Two processes train as one with the whole batch does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import runs
import torch

from anyteacher.logs import read_curves

PROGRAM = Path(__file__).parent / "programs" / "distributed.py"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "1", folder / "2"


def test_student_projectors_and_optimizer_agree(folders):
    one, two = (runs.read(folder) for folder in folders)
    assert one["global_step"] == two["global_step"] == 10
    assert one["state_dict"].keys() == two["state_dict"].keys()
    trained = [k for k, v in one["state_dict"].items() if "weight" in k and v.ndim > 1]
    assert sum("connections" in name for name in trained) == 4
    for name, value in one["state_dict"].items():
        if isinstance(value, torch.Tensor):
            assert value.dtype in (torch.float64, torch.int64)
            torch.testing.assert_close(two["state_dict"][name], value, atol=1e-10, rtol=0)
    for state, other in zip(
        one["optimizer_states"][0]["state"].values(),
        two["optimizer_states"][0]["state"].values(),
        strict=True,
    ):
        torch.testing.assert_close(other["exp_avg"], state["exp_avg"], atol=1e-10, rtol=0)


def test_weights_have_moved_and_the_warm_up_was_counted(folders):
    for folder in folders:
        state = runs.read(folder)["state_dict"]
        assert int(state["distiller.step"]) == 10
        assert state["distiller.connections.0.projector.linear.weight"].abs().max() > 0.1


def test_metrics_are_those_of_all_images(folders):
    """199 images: one process sees one more than the other, and none is counted twice."""
    one, two = (read_curves(folder / "curves.csv") for folder in folders)
    assert one["val/top1"] == two["val/top1"]
    assert one["val/top5"] == two["val/top5"]
