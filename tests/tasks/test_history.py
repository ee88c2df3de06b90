import pytest
import torch

from anyteacher.errors import ConfigError
from anyteacher.tasks.history import History

CPU = torch.device("cpu")


def numbered(*numbers: int) -> torch.Tensor:
    """Pictures that are told apart by their colour."""
    return torch.tensor(numbers).float().reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_it_fills_and_then_exchanges_half() -> None:
    history = History(10)
    first = numbered(*range(10)).requires_grad_()
    shown = history.mixed(first)
    assert torch.equal(shown, first)
    assert not shown.requires_grad
    old = given = 0
    for step in range(1, 201):
        new = numbered(10 * step, 10 * step + 1)
        before = {float(picture[0, 0, 0]) for picture in history.pictures}
        shown = {float(picture[0, 0, 0]) for picture in history.mixed(new)}
        after = {float(picture[0, 0, 0]) for picture in history.pictures}
        # Each new picture is either shown or kept in the place of one that is shown.
        assert shown | after == before | {10.0 * step, 10.0 * step + 1}
        assert len(shown) + len(after) == 12
        old += len(shown & before)
        given += 2
    assert 0.4 < old / given < 0.6


def test_none_is_kept_where_none_is_wanted() -> None:
    history, made = History(0), numbered(1, 2)
    assert torch.equal(history.mixed(made), made)
    assert history.state(CPU).shape == (0, 3, 0, 0)
    with pytest.raises(ConfigError, match="0 pictures or more, got -1"):
        History(-1)


def test_it_goes_on_from_its_state() -> None:
    whole, resumed = History(3), History(3)
    whole.mixed(numbered(1, 2, 3, 4, 5))
    resumed.resume(whole.state(CPU))
    for history in (whole, resumed):
        torch.manual_seed(1)
        history.last = [history.mixed(numbered(i, i + 1)) for i in (6, 8)]
    assert torch.equal(torch.stack(whole.last), torch.stack(resumed.last))
    assert torch.equal(whole.state(CPU), resumed.state(CPU))
    empty = History(3)
    empty.resume(History(3).state(CPU))
    assert not empty.pictures


def test_what_was_resumed_joins_new_pictures_on_the_device_of_the_training() -> None:
    whole, resumed = History(4), History(4)
    whole.mixed(numbered(1, 2, 3, 4))
    resumed.resume(whole.state(CPU))  # checkpoints are read to the CPU
    for _ in range(3):
        resumed.mixed(numbered(5, 6).to("meta"))  # in place of a GPU
    assert {picture.device.type for picture in resumed.pictures} == {"cpu", "meta"}
    state = resumed.state(torch.device("meta"))
    assert (state.shape, state.device.type) == ((4, 3, 2, 2), "meta")
