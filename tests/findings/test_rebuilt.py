"""What is measured is the trained student and projector of the run, on its validation images."""

import pytest
import torch
from fits import fit

from anyteacher import Link
from anyteacher.data.digits import DigitsDataset
from anyteacher.errors import ConfigError, TeacherError
from anyteacher.findings.rebuilt import analysed
from anyteacher.instantiation import instantiate
from anyteacher.parsers import make_parser
from anyteacher.spectral import Moments


@pytest.fixture
def made():
    """The experiment of a run, with some settings changed."""

    def make(folder, *flags):
        parser, _ = make_parser("fit", "")
        settings = parser.parse_args([f"--config={folder / 'config.yaml'}", *flags])
        return instantiate(parser, settings)[0]

    return make


def test_the_features_are_those_of_the_best_checkpoint(runs, made):
    folder = runs["taught-0"]
    found = analysed(made(folder), folder, images=70)
    assert found.images == 64  # whole batches of 16
    images = torch.stack([DigitsDataset("val")[i]["image"] for i in range(64)])
    assert torch.equal(found.samples, images[:4])
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    prefix = "distiller.connections.0.projector."
    weight = state[f"{prefix}linear.weight"].double()
    (measured,) = found.links
    values = measured.decomposition.singular_values
    assert torch.allclose(values.cpu(), torch.linalg.svdvals(weight))
    again = made(folder)
    again.student.load_state_dict(
        {k.removeprefix("distiller.student."): v for k, v in state.items() if ".student." in k}
    )
    features = []
    again.student.stages[1].register_forward_hook(lambda *a: features.append(a[2]))
    with torch.no_grad():
        again.student.eval()(images)
    rows = features[0].permute(0, 2, 3, 1).flatten(0, 2).double()
    moments = Moments.of(rows, rows)
    energies = torch.linalg.eigvalsh(moments.student).flip(0) / len(rows)
    assert torch.allclose(measured.student.cpu(), energies, rtol=1e-4, atol=1e-8)


def test_fewer_images_than_a_batch_are_one_batch(runs, made):
    assert analysed(made(runs["trail-0"]), runs["trail-0"], images=5).images == 5


def test_without_links_the_taps_of_others_are_looked_at(runs, made):
    folder = runs["alone-0"]
    assert analysed(made(folder), folder, images=32) is None
    watched = [
        Link("stages.1", "x", name="one"),
        Link("stages.1", "y", name="again"),
        Link(["stages.0", "stages.1"], ["x", "y"]),
        Link("layer4.2", "z"),
    ]
    found = analysed(made(folder), folder, images=32, watched=watched)
    assert [m.student_tap for m in found.links] == ["stages.1", "stages.0", "stages.1"]
    assert all(m.teacher is None for m in found.links)
    assert analysed(made(folder), folder, images=32, watched=watched[3:]) is None


def test_a_run_without_links_needs_no_teacher_though_one_is_given(made, tmp_path):
    folder = fit(tmp_path / "run", "--distillation.links=[]")
    found = analysed(made(folder), folder, images=16, watched=[Link("stages.1", "x")])
    assert [m.student_tap for m in found.links] == ["stages.1"]


def test_hooks_are_taken_off_again(runs, made):
    for name, watched in (("taught-0", []), ("alone-0", [Link("stages.1", "x")])):
        one = made(runs[name])
        analysed(one, runs[name], images=16, watched=watched)
        assert not any(m._forward_hooks for m in one.student.modules())
        if one.teacher is not None:
            assert not any(m._forward_hooks for m in one.teacher.modules())


def test_another_teacher_is_refused(runs, made):
    with pytest.raises(TeacherError, match="made beside other teachers: teacher differ"):
        analysed(made(runs["taught-0"], "--teacher.seed=5"), runs["taught-0"], images=16)


def test_settings_that_were_changed_are_refused(runs, made):
    wider = made(runs["taught-0"], "--student.init_args.widths=[4,12]")
    with pytest.raises(ConfigError, match=r"best\.ckpt' does not fit the student and links"):
        analysed(wider, runs["taught-0"], images=16)


def test_checkpoints_that_are_gone_or_damaged(made, tmp_path):
    folder = fit(tmp_path / "run", "--trainer.max_epochs=1")
    best = folder / "checkpoints" / "best.ckpt"
    best.write_bytes(best.read_bytes()[:-300])
    with pytest.raises(ConfigError, match=r"best\.ckpt' is damaged"):
        analysed(made(folder), folder, images=16)
    best.unlink()
    assert analysed(made(folder), folder, images=16).images == 16  # the last, as for the student
    (folder / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(ConfigError, match=r"no checkpoint best\.ckpt"):
        analysed(made(folder), folder, images=16)


def test_a_run_with_averaged_weights_is_measured_with_the_average(made, tmp_path):
    folder = fit(tmp_path / "run", "--optimization.ema=0.9")
    found = analysed(made(folder), folder, images=16)
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    weight = state["distiller.connections.0.projector.linear.weight"].double()
    values = found.links[0].decomposition.singular_values.cpu()
    assert torch.allclose(values, torch.linalg.svdvals(weight))
