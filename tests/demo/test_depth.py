import math
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml

from anyteacher.data import RoomsDataset
from anyteacher.demo.depth import experiment, run_depth, segmenter, shown
from anyteacher.demo.plan import DEPTH
from anyteacher.experiment import seed_all
from anyteacher.metrics import DEPTH_NAMES
from anyteacher.tasks import Segmentation

STUDY = replace(DEPTH, steps=2, train_size=16, val_size=8, test_size=4)
ALONE, TRADITIONAL, INVERTED, RANDOM = DEPTH.arms
RECIPE = Path(__file__).parents[2] / "configs" / "rooms-segmentation.yaml"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Scenes are rendered once for all tests, and not into the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANYTEACHER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def runs(cache):
    return {arm.name: run_depth(STUDY, arm, 0) for arm in DEPTH.arms}


def made(arm, seed=0):
    seed_all(seed)
    return experiment(STUDY, arm, seed)


@pytest.mark.parametrize("arm", DEPTH.arms, ids=lambda arm: arm.name)
def test_a_run_has_everything(runs, arm):
    run = runs[arm.name]
    assert set(run.metrics) == set(DEPTH_NAMES)
    assert all(math.isfinite(value) for value in run.metrics.values())
    assert [step for step, _ in run.curve] == [0, 1]
    assert all(0 < value < 2 for _, value in run.curve)
    assert run.predictions.shape == (4, 1, 64, 64)
    assert not run.predictions.requires_grad
    assert run.seconds > 0


@pytest.mark.parametrize("arm", DEPTH.arms, ids=lambda arm: arm.name)
def test_the_pictures_are_the_measured_students(runs, arm):
    """All four test scenes are shown, so the metric can be had from the pictures."""
    images, depth = shown(STUDY, 0)
    run = runs[arm.name]
    errors = ((run.predictions - depth).abs() / depth).flatten(1)
    assert run.metrics["abs_rel"] == pytest.approx(errors.mean().item(), rel=1e-5)
    scenes = RoomsDataset("test", 4, targets=("depth",), seed=0)
    assert all(torch.equal(images[i], scenes[i]["image"]) for i in range(4))
    assert all(torch.equal(depth[i], scenes[i]["depth"]) for i in range(4))


def test_every_arm_ends_elsewhere(runs):
    ends = [run.predictions for run in runs.values()]
    assert all(not torch.equal(a, b) for i, a in enumerate(ends) for b in ends[:i])


@pytest.mark.parametrize("arm", [ALONE, RANDOM], ids=lambda arm: arm.name)
def test_the_same_seed_gives_the_same_run(runs, arm):
    torch.rand(5)
    again = run_depth(STUDY, arm, 0)
    assert again.metrics == runs[arm.name].metrics
    assert again.curve == runs[arm.name].curve
    assert torch.equal(again.predictions, runs[arm.name].predictions)


def test_a_link_of_no_weight_trains_the_student_alone(runs):
    taught = run_depth(STUDY, replace(INVERTED, weight=0.0), 0)
    assert torch.equal(taught.predictions, runs["alone"].predictions)
    assert taught.metrics == runs["alone"].metrics


def test_nothing_is_left_outside_the_cache(runs, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_depth(STUDY, ALONE, 0)
    assert list(tmp_path.iterdir()) == []
    assert len(list(cache.glob("rooms-*"))) == 3


def test_students_of_all_arms_start_from_the_same_weights():
    starts = []
    for arm in DEPTH.arms:
        student = made(arm).student
        starts.append((student.state_dict(), torch.get_rng_state()))
    for weights, random_state in starts[1:]:
        assert all(torch.equal(value, weights[name]) for name, value in starts[0][0].items())
        assert torch.equal(random_state, starts[0][1])
    other = made(ALONE, seed=1).student.state_dict()
    assert not torch.equal(other["encoder.0.0.weight"], starts[0][0]["encoder.0.0.weight"])


def test_arms_differ_in_teacher_and_link_alone():
    alone, traditional, inverted, random = (made(arm, 7) for arm in DEPTH.arms)
    for one in (traditional, inverted, random):
        assert one.optimization == alone.optimization
        assert vars(one.task).keys() == vars(alone.task).keys()
        for name in ("sizes", "size", "targets", "batch_size", "seed"):
            assert getattr(one.data, name) == getattr(alone.data, name)
    assert alone.data.sizes == {"train": 16, "val": 8, "test": 4}
    assert alone.data.seed == 7
    assert alone.teacher is None
    assert alone.distillation.links == []
    [a], [b], [c] = (e.distillation.links for e in (traditional, inverted, random))
    assert [link.direction for link in (a, b, c)] == ["traditional", "inverted", "inverted"]
    assert [link.weight for link in (a, b, c)] == [arm.weight for arm in DEPTH.arms[1:]]
    assert [link.compare for link in (a, b, c)] == [arm.compare for arm in DEPTH.arms[1:]]
    studied = {"weight", "compare", "direction"}
    rest = [{k: repr(v) for k, v in vars(link).items() if k not in studied} for link in (a, b, c)]
    assert rest[0] == rest[1] == rest[2]
    hashes = [e.teacher.fingerprint() for e in (traditional, inverted, random)]
    assert hashes[0] == hashes[1] != hashes[2]
    # Both teachers are the same network, trained or not.
    trained, untrained = (e.teacher.model.state_dict() for e in (inverted, random))
    assert {k: v.shape for k, v in trained.items()} == {k: v.shape for k, v in untrained.items()}


def test_each_seed_has_a_random_teacher_of_its_own():
    assert made(RANDOM, 0).teacher.fingerprint() != made(RANDOM, 1).teacher.fingerprint()
    assert made(RANDOM, 0).teacher.fingerprint() == made(RANDOM, 0).teacher.fingerprint()


def test_the_shipped_teacher_segments_rooms_that_it_never_saw():
    file = files("anyteacher.demo") / "rooms-segmentation.safetensors"
    assert file.is_file()
    assert len(file.read_bytes()) < 2_000_000
    scenes = RoomsDataset("test", 16, targets=("segmentation",), seed=5000)
    batch = scenes.__getitems__(list(range(16))).batch
    task = Segmentation(7)
    metrics = task.metrics()
    task.update(metrics, segmenter()(batch["image"]), batch)
    # Random weights reach 0.04 to 0.09, the shipped ones 0.64 to 0.66.
    assert metrics.compute()["miou"] > 0.55


def test_the_shipped_teacher_is_what_its_recipe_makes():
    recipe = yaml.safe_load(RECIPE.read_text())
    assert recipe["student"]["class_path"] == "anyteacher.models.EncoderDecoder"
    from anyteacher.models import EncoderDecoder

    expected = EncoderDecoder(**recipe["student"]["init_args"]).state_dict()
    teacher = segmenter().model.state_dict()
    assert {k: v.shape for k, v in teacher.items()} == {k: v.shape for k, v in expected.items()}
    assert all(value.isfinite().all() for value in teacher.values())
    assert "teacher" not in recipe


def test_fewer_test_scenes_than_the_pictures_hold():
    images, depth = shown(replace(STUDY, test_size=2), 0)
    assert images.shape == (2, 3, 64, 64)
    assert depth.shape == (2, 1, 64, 64)
