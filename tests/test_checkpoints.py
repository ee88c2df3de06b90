import pytest
import runs
import torch

from anyteacher.checkpoints import Checkpoints
from anyteacher.experiment import CURVES, fit
from anyteacher.logs import read_curves

OPTIONS = {"trainer": runs.TRAINER, **runs.QUIET}


class Loop:
    """What the callback asks of a trainer."""

    def __init__(self, fails=False):
        self.callback_metrics, self.global_step, self.is_last_batch = {}, 0, False
        self.sanity_checking = self.fast_dev_run = self.should_stop = False
        self.callbacks, self.max_steps, self.max_epochs, self.current_epoch = [], -1, None, 0
        self.is_global_zero, self.fails, self.written = True, fails, []
        self.state = type("State", (), {"fn": "fit"})()
        self.validates, self.fit_loop = False, self  # one object for all loops
        self.epoch_loop, self._data_fetcher = self, None
        self._logger_connector = self

    def update_train_step_metrics(self):
        """Nothing is logged here."""

    def _should_check_val_fx(self, data_fetcher):
        return self.validates

    def save_checkpoint(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"half of {self.global_step}")
        if self.fails:
            raise OSError("no space left")
        path.write_text(str(self.global_step))
        self.written.append((self.global_step, path.name))


@pytest.mark.parametrize(("mode", "expected"), [("min", "4"), ("max", "3")])
def test_best_is_the_first_of_the_best_values(tmp_path, mode, expected):
    callback, loop = Checkpoints(tmp_path, monitor="val/x", mode=mode), Loop()
    for step, value in enumerate([5.0, float("nan"), 2.0, 7.0, 1.0, 1.0, 7.0]):
        loop.global_step, loop.callback_metrics["val/x"] = step, torch.tensor(value)
        callback.on_validation_end(loop, None)
    assert (tmp_path / "best.ckpt").read_text() == expected
    assert callback.best == {"min": 1.0, "max": 7.0}[mode]


def test_a_metric_that_is_no_number_is_never_the_best(tmp_path):
    callback, loop = Checkpoints(tmp_path, monitor="val/x", mode="min"), Loop()
    for step, value in enumerate([float("nan"), 2.0]):
        loop.global_step, loop.callback_metrics["val/x"] = step, torch.tensor(value)
        callback.on_validation_end(loop, None)
    assert (callback.best, (tmp_path / "best.ckpt").read_text()) == (2.0, "1")


def test_the_old_checkpoint_stays_until_the_new_one_is_complete(tmp_path):
    callback, loop = Checkpoints(tmp_path, monitor="val/x", mode="min"), Loop()
    callback.on_train_epoch_end(loop, None)
    loop.global_step, loop.fails = 9, True
    with pytest.raises(OSError, match="no space"):
        callback.on_train_epoch_end(loop, None)
    assert (tmp_path / "last.ckpt").read_text() == "0"


def test_last_is_written_every_so_many_steps_but_not_before_a_validation(tmp_path):
    callback, loop = Checkpoints(tmp_path, monitor="val/x", mode="min", every=2), Loop()
    loop.callback_metrics["val/x"] = torch.tensor(float("nan"))  # never the best
    for step in range(1, 9):
        loop.global_step, loop.is_last_batch, loop.validates = step, step == 6, step == 4
        callback.on_train_batch_end(loop, None, None, None, 0)
        callback.on_train_batch_end(loop, None, None, None, 0)  # a step of two batches
        if loop.validates:
            assert [step for step, _ in loop.written] == [2]
            callback.on_validation_end(loop, None)
        if loop.is_last_batch:
            assert [step for step, _ in loop.written] == [2, 4]
            callback.on_train_epoch_end(loop, None)
    assert loop.written == [(step, "last.ckpt.part") for step in (2, 4, 6, 8)]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ({}, []),
        ({"max_steps": 4}, []),
        ({"max_steps": 3}, [3]),
        ({"max_epochs": 2}, []),
        ({"max_epochs": 1}, [3]),
        ({"should_stop": True}, [3]),
    ],
    ids=str,
)
def test_of_the_ends_of_epochs_the_last_alone_is_written_where_steps_are_counted(
    tmp_path, ending, expected
):
    callback, loop = Checkpoints(tmp_path, monitor="val/x", mode="min", every=2), Loop()
    vars(loop).update(ending, global_step=3, is_last_batch=True)
    callback.on_train_batch_end(loop, None, None, None, 0)
    callback.on_train_epoch_end(loop, None)
    assert [step for step, _ in loop.written] == expected


def test_state_holds_the_best_value(tmp_path):
    callback = Checkpoints(tmp_path, monitor="val/x", mode="min")
    callback.best = 0.25
    other = Checkpoints(tmp_path, monitor="val/x", mode="min")
    other.load_state_dict(callback.state_dict())
    assert other.best == 0.25


def test_nothing_is_written_outside_of_a_fit(tmp_path):
    callback, loop = Checkpoints(tmp_path, monitor="val/x", mode="min"), Loop()
    loop.state.fn = "validate"
    callback.on_validation_end(loop, None)
    loop.state.fn, loop.sanity_checking = "fit", True
    callback.on_validation_end(loop, None)
    assert loop.written == []


def test_the_average_is_what_an_average_of_the_steps_gives(tmp_path):
    from lightning.pytorch.callbacks import Callback

    class Follow(Callback):
        average = None

        def on_train_batch_end(self, trainer, module, *_):
            state = {k: v.clone() for k, v in module.student.named_parameters()}
            if self.average is None:
                self.average = state
            self.average = {k: v + 0.1 * (state[k] - v) for k, v in self.average.items()}

    follow = Follow()
    fit(runs.experiment(ema=0.9), tmp_path, callbacks=(follow,), **OPTIONS)
    saved = runs.read(tmp_path)["state_dict"]
    for name, value in follow.average.items():
        torch.testing.assert_close(saved[f"distiller.student.{name}"], value, rtol=1e-4, atol=1e-5)
    assert any(key.startswith("distiller.connections.0.projector") for key in saved)


@pytest.mark.parametrize(
    "trainer",
    [{}, {"accumulate_grad_batches": 2}, {"val_check_interval": 2}, {"max_steps": 12}],
    ids=lambda options: next(iter(options), "plain"),
)
def test_a_checkpoint_never_lies_behind_a_step_that_is_not_logged(tmp_path, monkeypatch, trainer):
    write, seen = Checkpoints._write, []

    def checked(self, loop, name):
        steps = [step for step, _ in read_curves(tmp_path / CURVES)["train/total"]]
        seen.append(loop.global_step)
        assert steps == list(range(loop.global_step))
        write(self, loop, name)

    monkeypatch.setattr(Checkpoints, "_write", checked)
    options = {**OPTIONS, "trainer": {**runs.TRAINER, **trainer}}
    fit(runs.experiment(), tmp_path, checkpoint_every=2, **options)
    assert len(seen) > 4
