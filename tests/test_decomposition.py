import pytest
import torch
from torch import nn

import anyteacher as at
from anyteacher.errors import ConfigError, DataError, TapError
from anyteacher.projectors import MLP, Identity, Linear, LowRank, Orthogonal
from anyteacher.spectral import decompose


class Tapped(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.Conv2d(3, width, 2, 2), nn.BatchNorm2d(width), nn.Dropout(0.5))


def distiller(*links):
    return at.Distiller(
        Tapped(4).double(), Tapped(6).double(), links, example=torch.rand(2, 3, 8, 12).double()
    )


def batches():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(n, 3, 8, 12, generator=generator).double() for n in (4, 1, 7)]


@pytest.mark.parametrize("direction", ["inverted", "traditional"])
@pytest.mark.parametrize(
    "projector", [Linear(), Linear(bias=True), LowRank(2), Orthogonal()], ids=lambda p: str(p)[:9]
)
def test_over_a_loader_it_is_that_of_all_images_in_eval_mode(projector, direction):
    made = distiller(at.Link("1", "1", projector=projector, direction=direction))
    found = at.decompose(made, batches())["1<-1"]
    whole = torch.cat(batches())
    made.eval()
    (view,) = made.views(whole)
    z_s, z_t = (x.movedim(1, -1).reshape(-1, x.shape[1]) for x in view.compared[:2])
    expected = decompose(z_s, z_t, *view.projector.affine(), direction=direction)
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-9, atol=1e-12)
    assert float(found.total) == pytest.approx(float(made(whole).total.detach()), rel=1e-12)
    assert float(found.transfer + found.regularisation) == pytest.approx(
        float(found.total), rel=1e-12
    )


def test_modes_statistics_and_gradients_are_left_alone():
    made = distiller(at.Link("1", "1"))
    before = {name: value.clone() for name, value in made.student.state_dict().items()}
    at.decompose(made, iter(batches()))
    assert made.training
    assert made.student[2].training
    assert all(torch.equal(value, before[n]) for n, value in made.student.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())


def test_an_equal_width_without_a_projector_of_its_own():
    made = at.Distiller(
        Tapped(4).double(),
        Tapped(4).double(),
        [at.Link("1", "1", projector=Identity())],
        example=batches()[0],
    )
    found = at.decompose(made, batches())["1<-1"]
    assert float(found.regularisation) == 0
    assert int(found.rank) == 4


LINKS = (
    at.Link("1", "1", name="linear"),
    at.Link("1", "1", name="mlp", projector=MLP()),
    at.Link("1", loss=at.regularizers.LogDet(), name="alone"),
    at.Link("1", "input:0", loss=at.losses.SP(), projector=Linear(), name="grids"),
)


def test_only_linear_links_have_one():
    assert list(at.decompose(distiller(*LINKS), batches())) == ["linear"]
    assert list(at.decompose(distiller(*LINKS), batches(), ["linear"])) == ["linear"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlp", "MLP is no linear projector: it has no singular values"),
        ("alone", "'alone' projects nothing"),
        ("linar", "no link 'linar'. Did you mean linear?"),
        ("grids", r"'grids' compares features of different positions.*\(4, 4, 4, 6\)"),
    ],
)
def test_a_link_without_one_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        at.decompose(distiller(*LINKS), batches(), [name])


def test_no_link_with_one():
    with pytest.raises(ConfigError, match=r"linear projector .*: mlp has MLP, alone has none"):
        at.decompose(distiller(*LINKS[1:3]), batches())


def test_batches_of_more_than_images(unchecked):
    with pytest.raises(TapError, match=r"got a tuple. Of batches of .* \(images for images, _ in"):
        at.decompose(distiller(LINKS[0]), [(batches()[0], torch.zeros(4))])


def test_no_batch():
    with pytest.raises(DataError, match="at least one batch"):
        at.decompose(distiller(LINKS[0]), [])
