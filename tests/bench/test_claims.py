import re
from itertools import product

from anyteacher.bench.claims import CLAIMS, METHODS, OTHER, RANDOM_CLAIMS, SAME, VARIED_CLAIMS
from anyteacher.bench.grids import GRIDS
from anyteacher.bench.problems import PROBLEMS
from anyteacher.bench.variants import VARIANTS
from anyteacher.bench.verdict import FEWEST_SEEDS
from anyteacher.methods.about import about

EVERY = tuple(dict.fromkeys(claim for grid in GRIDS.values() for claim in grid.claims))


def test_the_six_claims_are_stated():
    assert {claim.name.split()[0] for claim in CLAIMS} == {f"C{i}" for i in range(1, 7)}
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert all(re.fullmatch(r"[A-Z][^.]+\.", claim.statement) for claim in EVERY)


def test_every_room_and_the_digits_are_tried_with_a_random_teacher_in_both_directions():
    tried = {claim.name: claim for claim in RANDOM_CLAIMS}
    assert {task for task, _ in tried["C1 random"].pairs} == {*PROBLEMS}
    assert {name for name in tried if name.startswith("C3")} == {
        claim.name for claim in CLAIMS if claim.name.startswith("C3")
    }
    assert len({claim.seeds for claim in RANDOM_CLAIMS}) == 1


def test_pairs_name_tasks():
    tasks = {*PROBLEMS}
    for claim in EVERY:
        assert {task for task, _ in claim.pairs} <= tasks
        assert {teacher for _, teacher in claim.pairs} <= {*tasks, "random", "none"}
    assert not {*OTHER} & {*SAME}
    assert (len(OTHER), len(SAME)) == (30, 6)


def test_methods_have_both_directions():
    for name in METHODS:
        assert {"inverted", "traditional"} <= set(about(name).directions), name


def test_claims_of_a_family_expect_the_same():
    """They are decided together."""
    families = {}
    for claim in EVERY:
        families.setdefault(claim.family or claim.name, set()).add(
            (claim.expects, claim.quantity, claim.baseline)
        )
    assert {"C2", "C1 variants", "V variants"} < set(families)
    assert all(len(kinds) == 1 for kinds in families.values())


def test_every_variant_is_compared_with_the_method_as_it_is_and_with_the_traditional_one():
    assert len({claim.name for claim in VARIED_CLAIMS}) == len(VARIED_CLAIMS)
    found = {(claim.variant, claim.baseline) for claim in VARIED_CLAIMS}
    assert found == set(product(VARIANTS, ("traditional", "unchanged")))


def test_each_can_be_decided():
    for claim in EVERY:
        assert claim.seeds >= FEWEST_SEEDS
        assert 0 < claim.margin < 1
        assert 0 < claim.needs <= 1
