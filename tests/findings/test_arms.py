import math
import statistics

import pytest

from anyteacher.errors import ConfigError
from anyteacher.findings.arms import arms_of, compared, differences
from anyteacher.statistics import compare

T_975 = 4.302652729911275  # two degrees of freedom
A, B = [0.5, 0.7, 0.6], [0.6, 0.9, 0.65]
WEIGHT = {"distillation": {"links": [], "weight": 2.0}}


def arms(finding, a=A, b=B, tested=True, **options):
    """Two arms of three seeds, which differ in the weight."""

    def row(name, values, settings):
        return [
            finding(
                f"runs/{name}-{seed}",
                seed=seed,
                settings=settings,
                tested={"top1": value} if tested else None,
                curves={"val/top1": [(1, value + 0.01), (2, value)]},
                **options,
            )
            for seed, value in enumerate(values)
        ]

    # In no order of the seeds, and mixed.
    mixed = [f for pair in zip(row("a", a, {}), row("b", b, WEIGHT), strict=True) for f in pair]
    return arms_of([mixed[0], *reversed(mixed[1:])])


def test_runs_that_differ_in_their_seed_alone_are_an_arm(finding):
    found = arms(finding)
    assert [arm.name for arm in found] == ["a", "b"]
    assert [[f.run.seeds for f in arm.findings] for arm in found] == [[(0, 0), (1, 0), (2, 0)]] * 2


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        (["runs/alone-0", "runs/alone-1"], "alone"),
        (["runs/alone_seed0", "runs/alone_seed1"], "alone"),
        (["runs/alone/0", "runs/alone/1"], "alone"),
        (["runs/alone/seed10", "runs/alone/seed11"], "alone"),
        (["runs/resnet-18-s0", "runs/resnet-18-s1"], "resnet-18"),
        (["runs/depth-v2.0", "runs/depth-v2.1"], "depth-v2"),
        (["runs/classes-0", "runs/classes-1"], "classes"),
        (["runs/seeds0", "runs/seeds1"], "seeds"),
        (["runs/alone-0"], "alone-0"),
    ],
)
def test_an_arm_is_named_after_its_folders(finding, folders, name):
    (arm,) = arms_of([finding(folder, seed=i) for i, folder in enumerate(folders)])
    assert arm.name == name


def test_no_two_arms_have_one_name(finding):
    found = arms_of([finding("x/a"), finding("y/a", settings=WEIGHT)])
    assert [arm.name for arm in found] == ["a", "a (2)"]


def test_one_seed_twice_is_refused(finding):
    with pytest.raises(ConfigError, match="'runs/a' and 'runs/b' have the same settings and seeds"):
        arms_of([finding("runs/a"), finding("runs/b")])


def test_the_difference_is_paired_by_seed_and_its_interval_is_students(finding):
    found = compared(arms(finding))
    gaps = [b - a for a, b in zip(A, B, strict=True)]
    half = T_975 * statistics.stdev(gaps) / 3**0.5
    paired = found.pairs["b"]
    assert (found.source, found.metric, found.mode) == ("test", "top1", "max")
    assert paired.mean == pytest.approx(statistics.fmean(gaps))
    assert (paired.low, paired.high) == pytest.approx((paired.mean - half, paired.mean + half))
    assert found.unpaired == {}


def test_without_all_test_results_the_best_validation_values_are_compared(finding):
    found = compared(arms(finding, tested=False))
    assert found.source == "best validation"
    expected = compare([v + 0.01 for v in B], [v + 0.01 for v in A], mode="max")
    assert found.pairs["b"].mean == pytest.approx(expected.mean)
    some = arms(finding)
    missing = finding("runs/c-0", settings={"task": {}}, curves={"val/top1": [(1, 0.3)]})
    assert compared([*some, *arms_of([missing])]).source == "best validation"


def test_only_shared_seeds_are_compared(finding):
    one = [finding(f"r/a-{s}", seed=s, tested={"top1": 0.1 * s}) for s in (0, 1, 2)]
    two = [finding(f"r/b-{s}", seed=s, tested={"top1": s * s}, settings=WEIGHT) for s in (1, 2, 7)]
    found = compared(arms_of([*one, *two]))
    assert found.pairs["b"].seeds == 2
    assert found.pairs["b"].mean == pytest.approx((0.9 + 3.8) / 2)
    found = compared(arms_of([*one, two[0]]))
    assert (found.pairs, found.unpaired) == ({}, {"b-1": 1})
    assert found.single == {"b-1": pytest.approx(0.9)}


def test_arms_of_other_metrics_or_without_a_value_are_not_compared(finding):
    a = finding("r/a", tested={"top1": 0.5})
    assert compared(arms_of([a, finding("r/b", monitor="miou", settings=WEIGHT)])) is None
    assert compared(arms_of([a, finding("r/b", settings=WEIGHT)])) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_run_without_a_finite_value_takes_its_arm_alone_out(finding, bad):
    other = {"distillation": {"links": [], "weight": 3.0}}

    def found(worse):
        three = [finding(f"r/c-{s}", seed=s, tested={"top1": 0.7}, settings=other) for s in (0, 1)]
        two = [finding(f"r/b-{s}", seed=s, tested={"top1": v}, settings=WEIGHT) for s, v in worse]
        one = [finding(f"r/a-{s}", seed=s, tested={"top1": 0.1 * s}) for s in (0, 1)]
        return compared(arms_of([*one, *two, *three]))

    result = found([(0, 0.5), (1, bad)])
    assert (set(result.pairs), result.unpaired) == ({"c"}, {"b": 2})
    ((run, value),) = result.failed
    assert run.folder.name == "b-1"
    assert value == pytest.approx(bad, nan_ok=True)
    assert result.single == {}
    # One that no seed of the first arm meets changes nothing.
    assert set(found([(0, 0.5), (1, 0.6), (2, bad)]).pairs) == {"b", "c"}


def test_the_settings_in_which_arms_differ(finding):
    link = {"student": ["s.0", "s.1"], "teacher": ["t.0", "t.1"], "loss": {"class_path": "x.MSE"}}
    alone = {"student": "s.1", "teacher": None, "loss": {"class_path": "x.NuclearNorm"}}
    teacher = {"class_path": "anyteacher.teachers.Random", "init_args": {"seed": 3}}
    found = arms_of(
        [
            finding("r/a-0", settings={"threads": 2}),
            finding("r/a-1", seed=1),
            finding(
                "r/b", seed=5, settings={"teacher": teacher, "distillation": {"links": [link]}}
            ),
            finding("r/c", settings={"distillation": {"links": [alone], "weight": 1.0}}),
        ]
    )
    assert differences(found) == [
        ("teacher", ["none", "Random", "none"]),
        ("distillation.links", ["none", "MSE s.0, s.1<-t.0, t.1", "NuclearNorm s.1"]),
        ("distillation.weight", ["1.0", "none", "1.0"]),
    ]
    assert differences(found[:1]) == []
    nested = [
        finding(f"r/{w}", settings={"distillation": {"links": [{**link, "weight": w}]}}, seed=w)
        for w in (1, 2)
    ]
    assert differences(arms_of(nested)) == [("distillation.links[0].weight", ["1", "2"])]
