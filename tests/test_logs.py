import pytest
import torch

from anyteacher.errors import DataError
from anyteacher.logs import CurveLogger, read_curves


def test_reads_what_was_logged_bit_for_bit(tmp_path):
    logger = CurveLogger(tmp_path / "c.csv")
    logger.log_metrics({"a": 1 / 3, "epoch": 0}, step=0)
    logger.log_metrics({"a": torch.tensor(0.1), "b, with a comma": float("nan")}, step=5)
    curves = read_curves(tmp_path / "c.csv")
    assert curves["a"] == [(0, 1 / 3), (5, float(torch.tensor(0.1)))]
    assert curves["b, with a comma"][0][1] != curves["b, with a comma"][0][1]
    assert set(curves) == {"a", "b, with a comma"}


def test_another_logger_goes_on_and_the_last_of_a_repeated_step_counts(tmp_path):
    for start, value in ((0, 1.0), (2, 2.0)):
        logger = CurveLogger(tmp_path / "c.csv")
        for step in range(start, start + 4):
            logger.log_metrics({"a": value}, step=step)
    expected = [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    assert read_curves(tmp_path / "c.csv")["a"] == expected
    assert (tmp_path / "c.csv").read_text().count("step,name,value") == 1


def test_steps_come_in_order(tmp_path):
    logger = CurveLogger(tmp_path / "c.csv")
    for step in (10, 9, 2):
        logger.log_metrics({"a": step}, step=step)
    assert [step for step, _ in read_curves(tmp_path / "c.csv")["a"]] == [2, 9, 10]


@pytest.mark.parametrize("line", ["3,a", "three,a,1.0", "3,a,one", "half", "3,a,1.0,9"])
def test_a_line_that_is_no_entry(tmp_path, line):
    (tmp_path / "c.csv").write_text(f"step,name,value\n1,a,2.0\n{line}\n")
    with pytest.raises(DataError, match="no log entry"):
        read_curves(tmp_path / "c.csv")


def test_another_file(tmp_path):
    (tmp_path / "c.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match="no log entry"):
        read_curves(tmp_path / "c.csv")


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"no log at .*Give the folder"):
        read_curves(tmp_path / "c.csv")
