"""Charts over arms compare the same seeds, and say which."""

import pytest

from anyteacher.findings.seeds import alike, first_text, mean_text, seeds_text


@pytest.fixture
def groups(finding):
    def make(**seeds):
        return {n: [finding(f"r/{n}-{s}", seed=s) for s in group] for n, group in seeds.items()}

    return make


def seeds_of(groups):
    return {name: [f.run.seeds[0] for f in group] for name, group in groups.items()}


def test_the_seeds_that_all_arms_have_are_kept(groups):
    kept = alike(groups(a=[0], b=[0, 1], c=[], d=[0, 1, 2]))
    assert seeds_of(kept) == {"a": [0], "b": [0], "c": [], "d": [0]}


def test_without_a_shared_seed_each_arm_keeps_its_own(groups):
    made = groups(a=[0, 1], b=[1, 2], c=[0, 2])
    assert seeds_of(alike(made)) == seeds_of(made)
    assert alike({}) == {}


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ({"a": [0]}, ""),
        ({"a": [0, 1], "b": []}, "Mean over seeds 0 and 1."),
        ({"a": [0, 1, 2], "b": [0, 1, 2]}, "Mean over seeds 0 to 2, which both arms have."),
        ({"a": [3], "b": [3], "c": [3]}, "Of seed 3, which all arms have."),
        ({"a": [3], "b": [3], "c": []}, "Of seed 3, which all arms with a line have."),
        (
            {"a": [0], "b": [0, 1]},
            "Of seed 0, which both arms have. Other seeds of some arms are left out, so that "
            "the lines compare.",
        ),
        (
            {"a": [0], "b": [1, 2]},
            "The arms share no seed, and means over different seeds compare less well: each line "
            "is that of its own arm's (a: seed 0; b: seeds 1 and 2).",
        ),
    ],
)
def test_a_chart_of_means_says_over_which_seeds(groups, seeds, said):
    assert mean_text(groups(**seeds)) == said


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ({"a": [0, 1], "b": [1, 2]}, "Of seed 1, the first that both arms have."),
        (
            {"a": [0, 1], "b": [2]},
            "The arms share no seed: each is shown by its own first (a: seed 0; b: seed 2).",
        ),
    ],
)
def test_a_chart_of_one_run_an_arm_says_of_which_seed(groups, seeds, said):
    assert first_text(groups(**seeds)) == said


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([4], "seed 4"),
        ([0, 2], "seeds 0 and 2"),
        ([2, 3, 4, 5], "seeds 2 to 5"),
        ([0, 1, 3], "seeds 0, 1 and 3"),
    ],
)
def test_seeds_in_few_words(finding, seeds, said):
    assert seeds_text([finding(seed=seed) for seed in seeds]) == said


def test_seeds_of_the_data_are_told_apart(finding):
    data = {"data": {"class_path": "DigitsData", "init_args": {"seed": 7}}}
    runs = [finding(seed=seed, settings=data) for seed in (0, 1, 2)]
    assert seeds_text(runs) == "seeds 0, data 7; 1, data 7 and 2, data 7"
