from dataclasses import replace

import pytest
from cells import TAUGHT

from anyteacher.bench.cell import Choice
from anyteacher.bench.variants import VARIANTS, variant
from anyteacher.instantiation import instantiate
from anyteacher.optimization import Optimization
from anyteacher.parsers import make_parser


@pytest.mark.parametrize("name", ["", *VARIANTS])
def test_a_variant_is_an_experiment_with_the_links_that_its_key_has(cell, name):
    made = cell(replace(TAUGHT, variant=name), Choice(weight=3.0))
    parser, _ = make_parser("fit", "")
    experiment, _ = instantiate(parser, parser.parse_object(made.settings()))
    (link,) = experiment.distillation.resolved()
    assert [link.described()] == made.links()
    assert experiment.optimization == Optimization(lr=1e-3, **variant(name).optimization)
    assert link.weight == pytest.approx(0.3)


def test_every_variant_differs_from_the_method_and_from_the_others(cell):
    links = [cell(replace(TAUGHT, variant=name)) for name in ("", *VARIANTS)]
    assert len({made.key for made in links}) == len(links)
    assert all(v.distillation or v.optimization for v in VARIANTS.values())
