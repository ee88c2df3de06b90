from anyteacher.facts import Facts
from anyteacher.normalization import ImageNorm


def test_nothing_is_known_unless_told():
    facts = Facts()
    assert (facts.targets, facts.classes, facts.max_depth) == ((), {}, None)
    assert facts.norm == ImageNorm()
