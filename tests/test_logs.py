import re
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from anyteacher.errors import DataError
from anyteacher.logs import Clock, CurveLogger, Interval, Waiting, log_observations, read_curves
from anyteacher.observation import Observation
from anyteacher.spectral import decompose


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


@pytest.mark.parametrize("torn", ["7,val/to", "7,a,0.1234", "7,a,3.0\r", "7"])
def test_a_last_line_that_was_cut_short_is_left_out_and_not_gone_on_with(tmp_path, torn):
    path = tmp_path / "c.csv"
    CurveLogger(path).log_metrics({"a": 1.0}, step=5)
    with path.open("a", newline="") as file:
        file.write(torn)
    assert read_curves(path) == {"a": [(5, 1.0)]}
    CurveLogger(path).log_metrics({"a": 2.0, "b": 3.0}, step=7)
    assert read_curves(path) == {"a": [(5, 1.0), (7, 2.0)], "b": [(7, 3.0)]}
    assert path.read_text().splitlines() == ["step,name,value", "5,a,1.0", "7,a,2.0", "7,b,3.0"]


@pytest.mark.parametrize("content", ["", "step,na"])
def test_a_log_that_was_cut_in_its_first_line_is_begun_again(tmp_path, content):
    path = tmp_path / "c.csv"
    path.write_text(content)
    CurveLogger(path).log_metrics({"a": 2.0}, step=7)
    assert path.read_text().splitlines() == ["step,name,value", "7,a,2.0"]


def test_a_log_that_cannot_be_read_is_not_gone_on_with(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(f"step,name,value\n5,{'a' * 200_000},1.0\n")
    told = r"c\.csv', which cannot be read \(field larger.*Move it away"
    with pytest.raises(DataError, match=told):
        CurveLogger(path).log_metrics({"a": 2.0}, step=7)


def test_what_a_resumed_run_logs_again_stands_there_once(tmp_path):
    path = tmp_path / "c.csv"
    for start in (0, 3):  # the second one goes on from a checkpoint of step 3
        logger = CurveLogger(path)
        for step in range(start, start + 5):
            logger.log_metrics({"lr": 0.1 * step}, step=step)
            logger.log_metrics({"loss": 1.0}, step=step)
    lines = path.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 1 + 2 * 8
    assert [step for step, _ in read_curves(path)["lr"]] == list(range(8))


@pytest.mark.parametrize("content", ["", "step,name,value\n", "step,name"])
def test_an_empty_log_is_told(tmp_path, content):
    (tmp_path / "c.csv").write_text(content)
    with pytest.raises(DataError, match=r"c\.csv' is empty: .* leave the run out"):
        read_curves(tmp_path / "c.csv")


@pytest.mark.parametrize("line", ["3,a", "three,a,1.0", "3,a,one", "half", "3,a,1.0,9"])
def test_a_line_that_is_no_entry(tmp_path, line):
    (tmp_path / "c.csv").write_text(f"step,name,value\n1,a,2.0\n{line}\n")
    with pytest.raises(DataError, match="no log entry"):
        read_curves(tmp_path / "c.csv")


@pytest.mark.parametrize(
    "content",
    [
        b"x,y\n1,2\n",
        b"\x00\xff\x1f\x8b" * 50,
        b"\xff\xfe\n\x00\n",
        b"\nstep,name,value\n",
        b"step,name\n1,a,2.0\n",
    ],
)
def test_another_file_is_not_called_empty(tmp_path, content):
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"c\.csv' cannot be read: it is no log.*step,name,value"):
        read_curves(tmp_path / "c.csv")


def test_a_line_that_no_table_has_is_told(tmp_path):
    line = b"1,a," + b"9" * 200_000  # longer than a field may be
    (tmp_path / "c.csv").write_bytes(b"step,name,value\n" + line + b"\n")
    with pytest.raises(DataError, match=r"c\.csv' cannot be read \(field larger"):
        read_curves(tmp_path / "c.csv")


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"no log at .*Give the folder"):
        read_curves(tmp_path / "c.csv")


def test_an_interval_comes_once_a_step():
    every = Interval(3)
    steps = [0, 0, 1, 2, 3, 3, 3, 4, 6]
    assert [step for step in steps if every.at(step)] == [0, 3, 6]
    assert not any(Interval(0).at(step) for step in range(60))
    often = Interval(100)
    assert [step for step in range(250) if often.at(step)] == [0, 10, 20, 50, 100, 200]
    often = Interval(15)
    assert [step for step in range(31) if often.at(step)] == [0, 10, 15, 30]


def observation(decomposition=None):
    return Observation(*(torch.tensor(float(n)) for n in range(4)), decomposition)


def test_observations_reach_every_logger_with_the_spectrum(tmp_path):
    terms = decompose(torch.randn(9, 4), torch.randn(9, 6), torch.randn(4, 6))
    loggers = [
        CurveLogger(tmp_path / "c.csv"),
        TensorBoardLogger(tmp_path, name="board", version=""),
    ]
    log_observations(loggers, {"a<-b": observation(terms), "a:LogDet": observation()}, 7)
    curves = read_curves(tmp_path / "c.csv")
    alone = {"energy": 0.0, "centred_rank": 1.0, "energy_left": 2.0, "rank_left": 3.0}
    assert {
        name.rpartition("/")[2]: curve for name, curve in curves.items() if "LogDet" in name
    } == {name: [(7, value)] for name, value in alone.items()}
    expected = {
        "transfer": terms.transfer, "regularisation": terms.regularisation, "total": terms.total,
        "projector_rank": terms.projector_rank, "student_rank": terms.student_rank,
        "transfer_share": terms.transfer_share, "cka": terms.cka,
        "regularisation_share": terms.regularisation_share,
    }  # fmt: skip
    for name, value in expected.items():
        assert curves[f"spectra/a<-b/{name}"] == [(7, float(value))]
    for number, value in enumerate(terms.singular_values.tolist()):
        ((step, logged),) = curves[f"spectra/a<-b/singular_values/{number}"]
        assert step == 7
        assert logged == pytest.approx(value, rel=5e-6)
    assert len(curves) == 4 + 4 + 8 + 4
    loggers[1].save()
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    scalars = {tag for tag in board.Tags()["scalars"] if tag.startswith("spectra")}
    assert len(scalars) == 4 + 4 + 8
    (tag,) = board.Tags()["histograms"]
    assert board.Histograms(tag)[0].histogram_value.num == 4


def spectrum_of(tmp_path, rank, width):
    """The singular values that are logged of a projector of a given rank, and the true ones."""
    weight = torch.linalg.qr(torch.randn(width, rank)).Q * torch.logspace(0, -2, rank)
    weight = weight @ torch.linalg.qr(torch.randn(width, rank)).Q.T
    terms = decompose(torch.randn(30, width), torch.randn(30, width), weight)
    board = TensorBoardLogger(tmp_path, name="board", version="")
    log_observations([CurveLogger(tmp_path / "c.csv"), board], {"l": observation(terms)}, 7)
    board.save()
    (tag,) = (found := EventAccumulator(str(tmp_path / "board")).Reload()).Tags()["histograms"]
    prefix = "spectra/l/singular_values/"
    logged = {
        int(name[len(prefix) :]): curve[0][1]
        for name, curve in read_curves(tmp_path / "c.csv").items()
        if name.startswith(prefix)
    }
    return logged, terms.singular_values, found.Histograms(tag)[0].histogram_value


def test_singular_values_of_rounding_are_not_logged(tmp_path):
    logged, values, histogram = spectrum_of(tmp_path, 5, 40)
    assert list(logged.values()) == pytest.approx(values[:5].tolist(), rel=1e-5)
    assert histogram.num == 5
    text = (tmp_path / "c.csv").read_text()
    digits = re.findall(r"singular_values/\d+,0\.0*(\d+)", text)
    assert max(map(len, digits)) <= 6


def test_of_many_singular_values_64_are_logged_with_the_first_and_the_last(tmp_path):
    logged, values, _ = spectrum_of(tmp_path, 200, 256)
    assert len(logged) == 64
    assert (min(logged), max(logged)) == (0, 199)
    assert {after - before for before, after in pairwise(logged)} == {3, 4}
    for number, value in logged.items():
        assert value == pytest.approx(float(values[number]), rel=5e-6)
    assert (tmp_path / "c.csv").stat().st_size < 4_000


def test_a_projector_of_zeros_has_a_value_of_zero(tmp_path):
    terms = decompose(torch.randn(9, 4), torch.randn(9, 6), torch.zeros(4, 6))
    log_observations([CurveLogger(tmp_path / "c.csv")], {"l": observation(terms)}, 7)
    curves = read_curves(tmp_path / "c.csv")
    assert curves["spectra/l/singular_values/0"] == [(7, 0.0)]
    assert "spectra/l/singular_values/1" not in curves


def test_the_same_numbers_again_are_one_entry(tmp_path):
    logger = CurveLogger(tmp_path / "c.csv")
    for value in (1.0, 1.0, 2.0, 1.0):
        logger.log_metrics({"a": value}, step=3)
    assert (tmp_path / "c.csv").read_text().split() == ["step,name,value"] + [
        f"3,a,{value}" for value in ("1.0", "2.0", "1.0")
    ]


def test_the_share_of_the_time_that_waits_for_data(tmp_path):
    logger, waiting = CurveLogger(tmp_path / "c.csv"), Waiting()
    loader = SimpleNamespace(waited=0.3)
    trainer = SimpleNamespace(train_dataloader=loader, loggers=[logger], global_step=7)
    waiting.on_train_epoch_start(trainer, None)
    for _ in range(2):
        waiting.on_train_batch_start()
        time.sleep(0.05)
        waiting.on_train_batch_end()
    waiting.on_train_epoch_end(trainer, None)
    ((step, share),) = read_curves(tmp_path / "c.csv")["time/waiting"]
    assert step == 6
    assert 0.3 < share <= 0.75  # 0.3 s waited, 0.1 s or, on a busy machine, more worked


def test_a_clock_counts_steps_and_validations_and_goes_on():
    clock = Clock()
    clock.on_train_batch_start()
    time.sleep(0.02)
    clock.on_train_batch_end()
    time.sleep(0.05)  # waiting for data is no part of a step
    clock.on_validation_start()
    time.sleep(0.03)
    clock.on_validation_end()
    assert 0.02 <= clock.seconds["steps"] < 0.045
    assert clock.seconds["validation"] >= 0.03
    resumed = Clock()
    resumed.load_state_dict(clock.state_dict())
    resumed.on_train_batch_start()
    resumed.on_train_batch_end()
    assert clock.seconds["steps"] < resumed.seconds["steps"]
    assert resumed.seconds["validation"] == clock.seconds["validation"]
