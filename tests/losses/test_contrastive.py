import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import anyteacher as at
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import CRD, InfoNCE, info_nce, nce

PROGRAMS = Path(__file__).parents[1] / "programs"
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def vectors(*shape):
    return torch.randn(shape, dtype=torch.float64)


def unit(row):
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_info_nce(student, teacher, temperature, anchor):
    s, t = ([unit(row) for row in x.tolist()] for x in (student, teacher))

    def one(anchors, others):
        total = 0.0
        for i, row in enumerate(anchors):
            scores = [math.exp(dot(row, other) / temperature) for other in others]
            total -= math.log(scores[i] / sum(scores))
        return total / len(anchors)

    return one(s, t) if anchor == "student" else (one(s, t) + one(t, s)) / 2


class SlowCRD:
    """From the paper, with loops: embeddings, memories and Z as lists of numbers."""

    def __init__(self, loss):
        self.layers = [loss.embed_student, loss.embed_teacher]
        self.memories = [loss.student_memory.tolist(), loss.teacher_memory.tolist()]
        self.z = [None, None]
        self.k, self.n = loss.negatives, loss.samples
        self.temperature, self.momentum = loss.temperature, loss.momentum

    def __call__(self, student, teacher, indices, noise):
        embedded = [
            [
                unit([dot(w, x) + b for w, b in zip(layer.weight.tolist(), layer.bias.tolist())])  # noqa: B905
                for x in rows.tolist()
            ]
            for layer, rows in zip(self.layers, (student, teacher), strict=True)
        ]
        total = 0.0
        for side in (0, 1):
            memory = self.memories[1 - side]
            scores = [
                [
                    math.exp(dot(anchor, memory[j]) / self.temperature)
                    for j in [index, *others.tolist()]
                ]
                for anchor, index, others in zip(
                    embedded[side], indices.tolist(), noise, strict=True
                )
            ]
            if self.z[side] is None:
                every = [x for row in scores for x in row]
                self.z[side] = sum(every) / len(every) * self.n
            q = self.k / self.n
            for row in scores:
                p = [x / self.z[side] for x in row]
                total -= math.log(p[0] / (p[0] + q))
                total -= sum(math.log(q / (x + q)) for x in p[1:])
        for side in (0, 1):
            for row, index in zip(embedded[side], indices.tolist(), strict=True):
                old = self.memories[side][index]
                self.memories[side][index] = unit(
                    [
                        self.momentum * a + (1 - self.momentum) * b
                        for a, b in zip(old, row, strict=True)
                    ]
                )
        return total / len(student)


def crd(samples=20, features=5, **settings):
    loss = CRD(samples, features, **{"negatives": 8, **settings})
    loss.build(3, 4)
    return loss.double()


def close(value, expected):
    assert value.ndim == 0
    assert abs(float(value.detach()) - float(expected)) < 1e-10


@pytest.mark.parametrize("shape", [(2, 1), (5, 3), (7, 6)])
@pytest.mark.parametrize("anchor", ["both", "student"])
def test_info_nce_against_plain_loops(shape, anchor):
    student, teacher = vectors(*shape), vectors(*shape)
    for temperature in (0.07, 1.0):
        value = info_nce(student, teacher, temperature=temperature, anchor=anchor)
        close(value, slow_info_nce(student, teacher, temperature, anchor))


def test_info_nce_by_hand():
    own = torch.eye(2)
    # Similarity 1 to its own and 0 to the other.
    expected = math.log(1 + math.exp(-2.0))
    assert float(info_nce(own, 3 * own, temperature=0.5)) == pytest.approx(expected)
    # All alike: no image can be told from the others.
    assert float(info_nce(torch.ones(8, 3), torch.ones(8, 3))) == pytest.approx(math.log(8))


def test_info_nce_sees_neither_length_nor_order_and_knows_its_anchor():
    student, teacher = vectors(6, 4), vectors(6, 4)
    value = info_nce(student, teacher)
    close(info_nce(student * (1 + torch.rand(6, 1)), 5 * teacher), value)
    order = torch.randperm(6)
    close(info_nce(student[order], teacher[order]), value)
    close(info_nce(teacher, student), value)
    one = info_nce(student, teacher, anchor="student")
    other = info_nce(teacher, student, anchor="student")
    close((one + other) / 2, value)
    assert abs(one - other) > 1e-3


def test_info_nce_gives_a_vector_of_zeros_no_gradient():
    sides = [torch.randn(6, 4), torch.randn(6, 4)]
    for x in sides:
        x[2] = 0
        x.requires_grad_()
    info_nce(*sides).backward()
    for x in sides:
        assert not x.grad[2].any()
        assert 0 < x.grad.abs().max() < 100


def test_info_nce_without_embeddings_is_the_function():
    student, teacher = vectors(6, 4), vectors(6, 4)
    loss = InfoNCE(0, 0.2, "student")
    loss.build(4, 4)
    assert list(loss.parameters()) == []
    close(loss(student, teacher), info_nce(student, teacher, temperature=0.2, anchor="student"))
    with pytest.raises(LayoutError, match=r"features of one width, got 4 from the student and 5"):
        loss.build(4, 5)


def test_info_nce_embeds_both_sides():
    loss = InfoNCE(3)
    loss.build(4, 6)
    loss.double()
    student, teacher = vectors(5, 4), vectors(5, 6)
    embedded = loss.embed_student(student), loss.embed_teacher(teacher)
    close(loss(student, teacher), info_nce(*embedded).detach())


def test_nce_by_hand():
    # p = q = 1/2 for the image itself and for one noise sample: log 2 each.
    value = nce(torch.zeros(4, 2), torch.tensor(2.0).log(), samples=2)
    assert float(value) == pytest.approx(2 * math.log(2))
    # The image is certain, the noise impossible.
    assert float(nce(torch.tensor([[50.0, -50.0]]), torch.tensor(0.0), samples=1)) < 1e-20
    assert nce(torch.tensor([[-200.0, 200.0]]), torch.tensor(0.0), samples=1).isfinite()


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5, "momentum": 0.0}, {"negatives": 1}])
def test_crd_against_plain_loops(settings):
    loss = crd(**settings)
    slow = SlowCRD(loss)
    for step in range(4):
        student, teacher, indices = vectors(6, 3), vectors(6, 4), torch.randperm(20)[:6]
        torch.manual_seed(step)
        value = loss(student, teacher, indices)
        torch.manual_seed(step)
        noise = torch.randint(20, (6, loss.negatives))
        close(value, slow(student, teacher, indices, noise))
        for mine, theirs in zip((loss.student_memory, loss.teacher_memory), slow.memories):  # noqa: B905
            torch.testing.assert_close(mine.tolist(), theirs, atol=1e-12, rtol=0)
    expected = torch.tensor(slow.z, dtype=torch.float64).log()
    torch.testing.assert_close(loss.log_z, expected, atol=1e-12, rtol=0)


def test_z_is_that_of_the_first_batch_and_evaluation_changes_nothing():
    loss = crd().eval()
    start = {k: v.clone() for k, v in loss.state_dict().items()}
    loss(vectors(6, 3), vectors(6, 4), torch.arange(6))
    assert all(torch.equal(v, start[k]) for k, v in loss.state_dict().items())
    loss.train()
    loss(vectors(6, 3), vectors(6, 4), torch.arange(6))
    first = loss.log_z.clone()
    assert (first != 0).all()
    loss(vectors(6, 3), vectors(6, 4), torch.arange(6))
    assert torch.equal(loss.log_z, first)
    assert not torch.equal(loss.student_memory, start["student_memory"])


def test_only_the_images_of_the_batch_are_remembered_anew_at_unit_length():
    loss = crd()
    before = loss.student_memory.clone()
    indices = torch.tensor([3, 17, 5])
    loss(vectors(3, 3), vectors(3, 4), indices)
    changed = (loss.student_memory != before).any(1).nonzero().flatten()
    assert changed.tolist() == [3, 5, 17]
    lengths = loss.student_memory[indices].norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_of_an_image_that_is_there_twice_the_last_row_counts():
    one, two = crd(), crd()
    two.load_state_dict(one.state_dict())
    student, teacher = vectors(4, 3), vectors(4, 4)
    one(student, teacher, torch.tensor([7, 2, 7, 4]))
    two(student[1:], teacher[1:], torch.tensor([2, 7, 4]))
    assert torch.equal(one.student_memory, two.student_memory)
    assert torch.equal(one.teacher_memory, two.teacher_memory)


def test_the_gradient_does_not_reach_the_memory_or_z():
    loss = crd()
    student, teacher = vectors(6, 3).requires_grad_(), vectors(6, 4).requires_grad_()
    loss(student, teacher, torch.arange(6)).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad.abs().max() > 0
    for buffer in loss.buffers():
        assert not buffer.requires_grad


def test_training_makes_it_fall():
    loss = crd(samples=32, features=8, negatives=64)
    student, teacher = vectors(32, 3), vectors(32, 4)
    student.requires_grad_()
    optimizer = torch.optim.Adam([student, *loss.parameters()], lr=0.02)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(student, teacher, torch.arange(32))
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert sum(values[-5:]) < 0.7 * sum(values[:5])


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 20], r"CRD\(samples=20\) remembers images 0 to 19 .* from 0 to 20. Set samples to"),
        ([-1, 3], r"indices from -1 to 3"),
    ],
)
def test_an_index_outside_the_memory_is_refused(indices, message):
    with pytest.raises(ConfigError, match=message):
        crd()(vectors(2, 3), vectors(2, 4), torch.tensor(indices))


def test_what_is_no_vector_or_lacks_its_index_is_refused():
    with pytest.raises(LayoutError, match=r"one index an image, got indices of shape \(3,\) for 2"):
        crd()(vectors(2, 3), vectors(2, 4), torch.arange(3))
    for loss, more in ((crd(), [torch.arange(2)]), (InfoNCE(4), [])):
        with pytest.raises(LayoutError, match=r"one vector an image .* Use compare='pooled'"):
            loss(vectors(2, 3, 4, 4), vectors(2, 4, 4, 4), *more)
    with pytest.raises(
        LayoutError, match=r"info_nce .* at least 2 of them, got 1\. Use a larger batch"
    ):
        info_nce(vectors(1, 3), vectors(1, 3))
    link = at.Link("1", "1", loss=CRD(8, 4), compare="pooled", name="memory")
    models = [
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, width)) for width in (4, 6)
    ]
    distiller = at.Distiller(*models, [link], example=torch.rand(2, 3, 2, 2))
    with pytest.raises(ConfigError, match=r"Link 'memory': CRD needs the indices of the images"):
        distiller(torch.rand(2, 3, 2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CRD(0), r"at least 1, got 0, 128 and 16384"),
        (lambda: CRD(5, features=0), r"at least 1, got 5, 0 and 16384"),
        (lambda: CRD(5, negatives=0), r"at least 1, got 5, 128 and 0"),
        (lambda: CRD(5, temperature=0.0), r"positive temperature .* got 0.0 and 0.5"),
        (lambda: CRD(5, momentum=1.0), r"momentum from 0 up to 1, got 0.07 and 1.0"),
        (lambda: InfoNCE(-1), r"InfoNCE needs features of 0 or more, .* got -1 and 0.07"),
        (lambda: InfoNCE(temperature=-1.0), r"got 128 and -1.0"),
        (lambda: InfoNCE(anchor="teacher"), r"anchor cannot be 'teacher'. Known: both, student"),
    ],
)
def test_impossible_settings_are_refused(make, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        make()


def test_crd_trains_compiled_as_it_does_not():
    done = subprocess.run(
        [sys.executable, PROGRAMS / "crd_compiled.py"],
        capture_output=True,
        text=True,
        env=ALONE,
        check=False,
    )
    assert done.stdout == "the same\n", done.stderr[-3000:]


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's files need a POSIX system")
def test_two_processes_keep_one_memory(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, PROGRAMS / "crd_parallel.py", str(rank), tmp_path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ALONE,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=240) for rank in ranks]
    for rank, (_, errors) in zip(ranks, outputs, strict=True):
        assert rank.returncode == 0, errors[-3000:]
    assert outputs[0][0] == "one memory\n"
