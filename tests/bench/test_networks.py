import pytest
import torch

from anyteacher.bench.networks import NETWORKS, network
from anyteacher.errors import ConfigError
from anyteacher.instantiation import instantiate
from anyteacher.parsers import make_parser

ALL = [(kind, name) for kind, networks in NETWORKS.items() for name in networks]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_network_is_built_from_its_settings_and_has_its_taps(kind, name):
    found = network(kind, name)
    parser, _ = make_parser("fit", "")
    model = parser.parse_object(
        {
            "task": "Depth",
            "data": "RoomsData",
            "student": found.config(5, 3, bias=1.0),
        }
    )
    made, _ = instantiate(parser, model)
    student = made.student.eval()
    shapes = {}
    for tap, path in found.taps.items():
        module = student.get_submodule(path)
        module.register_forward_hook(lambda m, i, out, tap=tap: shapes.update({tap: out.shape}))
    pixels = 224 if name.startswith("vit") else 8 if kind == "digits" else 64
    output = student(torch.rand(1, 3, pixels, pixels))
    assert output.shape[1] == 5
    assert output.ndim == (4 if kind == "dense" else 2)
    if name.startswith("vit"):
        width = {"vit_small": 384, "vit_base": 768}[name]
        assert shapes["middle"] == shapes["deep"] == (1, 197, width)
    else:
        assert shapes["middle"][-1] == 2 * shapes["deep"][-1]


def test_a_wrong_name():
    with pytest.raises(ConfigError, match=r"no dense network 'smal'. Did you mean small or"):
        network("dense", "smal")
