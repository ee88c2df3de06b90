"""KD-SVD against loops and torch's own decomposition, and its gradient where torch's is none."""

import math
from itertools import pairwise

import pytest
import torch

import anyteacher as at
from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses import KDSVD, kd_svd
from anyteacher.losses.singular import _eigenpairs

# Narrow and wide against the positions, one position, one channel; other grids on the other side.
SHAPES = [
    ([(2, 4, 3, 5), (2, 6, 2, 2)], [(2, 4, 3, 5), (2, 6, 2, 2)]),
    ([(3, 5, 1, 4), (3, 2, 3, 3), (3, 7, 2, 1)], [(3, 5, 4, 2), (3, 2, 1, 3), (3, 7, 3, 3)]),
    ([(1, 1, 2, 2), (1, 3, 1, 1)], [(1, 1, 1, 1), (1, 3, 2, 2)]),
]
every_shape = pytest.mark.parametrize("shapes", SHAPES)


def levels(shapes, dtype=torch.float64):
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def pair(shapes):
    return levels(shapes[0]), levels(shapes[1])


def slow_kd_svd(student, teacher, vectors=1, spare=3, beta=8.0):
    """Image by image, from singular value decompositions of (HW, C)."""

    def decomposed(image, count):
        _, s, vh = torch.linalg.svd(image.flatten(1).T, full_matrices=False)
        return s[:count].tolist(), vh[:count].tolist()

    def turned(v):
        return v if sum(v) >= 0 else [-x for x in v]

    def prepared(mine, theirs):
        s, ours = decomposed(theirs, vectors)
        ours = [turned(v) for v in ours]
        _, candidates = decomposed(mine, vectors + spare)
        whole = math.sqrt(sum(x * x for x in s))
        result = []
        for weight, v in zip(s, ours, strict=True):
            cosines = [sum(a * b for a, b in zip(c, v, strict=True)) for c in candidates]
            best = max(range(len(candidates)), key=lambda i: abs(cosines[i]))
            sign = math.copysign(1, cosines[best])
            w = weight / whole
            result.append(([sign * w * x for x in candidates[best]], [w * x for x in v]))
        return result

    total = 0.0
    images = len(student[0])
    for b in range(images):
        found = [
            prepared(mine[b], theirs[b]) for mine, theirs in zip(student, teacher, strict=True)
        ]
        for level, following in pairwise(found):
            for (s, t), (s_next, t_next) in zip(level, following, strict=False):
                for i in range(len(s)):
                    for j in range(len(s_next)):
                        mine = math.exp(-((s[i] - s_next[j]) ** 2) / beta)
                        theirs = math.exp(-((t[i] - t_next[j]) ** 2) / beta)
                        total += (mine - theirs) ** 2
    return total / images


@every_shape
@pytest.mark.parametrize("settings", [{}, {"vectors": 2, "spare": 0}, {"vectors": 3, "beta": 0.5}])
def test_it_against_plain_loops(shapes, settings):
    student, teacher = pair(shapes)
    result = kd_svd(student, teacher, **settings)
    assert result.ndim == 0
    assert abs(float(result) - slow_kd_svd(student, teacher, **settings)) < 1e-10
    assert torch.equal(KDSVD(**settings)(student, teacher), result)


@every_shape
def test_its_gradient_is_right(shapes):
    student, teacher = pair(shapes)
    for x in (*student, *teacher):
        x.requires_grad_()

    def loss(*features):
        half = len(features) // 2
        return 100 * kd_svd(features[:half], features[half:], vectors=2, spare=1, beta=0.3)

    assert torch.autograd.gradcheck(loss, (*student, *teacher), atol=1e-4)


def test_equal_levels_differ_in_nothing():
    student = levels(SHAPES[0][0])
    features = [x.requires_grad_() for x in student]
    loss = kd_svd(features, [x.detach() for x in student], vectors=2)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not any(x.grad.any() for x in features)


def test_sign_scale_and_order_of_the_positions_make_no_difference():
    student, teacher = pair(SHAPES[0])
    expected = kd_svd(student, teacher, vectors=2)
    changed = [-3 * student[0], student[1].flip(3)]
    torch.testing.assert_close(kd_svd(changed, teacher, vectors=2), expected)
    torch.testing.assert_close(kd_svd(student, [9 * x for x in teacher], vectors=2), expected)
    last = [x.to(memory_format=torch.channels_last) for x in student]
    torch.testing.assert_close(kd_svd(last, teacher, vectors=2), expected)


def test_images_are_apart():
    student, teacher = pair(SHAPES[1])
    parts = [
        kd_svd([x[i : i + 1] for x in student], [x[i : i + 1] for x in teacher]) for i in (0, 1, 2)
    ]
    torch.testing.assert_close(kd_svd(student, teacher), torch.stack(parts).mean())


def test_a_known_value():
    """One channel direction at each level: e_1 against e_2 of two channels, then one channel."""
    student = [torch.tensor([[[[2.0]], [[0.0]]]]), torch.ones(1, 1, 1, 1)]
    teacher = [torch.tensor([[[[0.0]], [[5.0]]]]), torch.ones(1, 1, 1, 1)]
    # Entries exp(-(1 - 1)^2 / 8) and exp(-(0 - 1)^2 / 8), in the other order at the teacher's.
    expected = 2 * (1 - math.exp(-1 / 8)) ** 2
    assert float(kd_svd(student, teacher)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (2, 9, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["zeros", "ones", "identity", "rank one"])
def test_repeated_and_zero_singular_values_have_finite_gradients(shape, dtype, kind):
    _, c, h, w = shape
    plain = {
        "zeros": torch.zeros(shape),
        "ones": torch.ones(shape),
        "identity": torch.eye(c, h * w).reshape(1, c, h, w).repeat(2, 1, 1, 1),
        "rank one": torch.randn(2, c, 1, 1) * torch.randn(2, 1, h, w),
    }[kind].to(dtype)
    for mine, theirs in ((plain, torch.randn(shape, dtype=dtype)), (plain, plain.clone())):
        features = [x.clone().requires_grad_() for x in (mine, mine, theirs, theirs)]
        loss = kd_svd(features[:2], features[2:], vectors=3)
        loss.backward()
        assert loss.isfinite()
        assert all(x.grad.isfinite().all() for x in features)
        assert all(x.grad.abs().max() < 100 for x in features)


def test_the_gradient_of_distinct_eigenpairs_is_that_of_torch():
    x = torch.randn(3, 5, 5, dtype=torch.float64)
    weights = torch.randn(3, 5, 2, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)

    def loss(values, vectors):  # blind to the vectors' signs
        return (values * weights[1]).sum() + (vectors**2 * weights[0]).sum()

    gradients = []
    for mine in (True, False):
        root = x.clone().requires_grad_()
        products = root @ root.mT
        if mine:
            loss(*_eigenpairs(products, 2)).backward()
        else:
            values, vectors = torch.linalg.eigh(products)
            loss(values.flip(-1)[:, :2], vectors.flip(-1)[..., :2]).backward()
        gradients.append(root.grad)
    torch.testing.assert_close(*gradients)


def test_half_precision_and_autocast_are_decomposed_in_single():
    student, teacher = pair(SHAPES[0])
    exact = kd_svd(student, teacher)
    for size in (1e-3, 100.0):
        halves = [[(size * x).half() for x in side] for side in (student, teacher)]
        result = kd_svd(*halves)
        assert result.dtype == torch.float32
        precise = kd_svd(*[[x.double() for x in side] for side in halves])
        torch.testing.assert_close(result.double(), precise, rtol=1e-3, atol=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = kd_svd(*[[x.float() for x in side] for side in (student, teacher)])
    torch.testing.assert_close(result.double(), exact, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_stays_so():
    """A loss scaler looks for it; an error of the decomposition would end the training."""
    for bad in (math.inf, math.nan):
        student, teacher = pair(SHAPES[0])
        student[0][0, 0, 0, 0] = bad
        assert not kd_svd(student, teacher).isfinite()


def test_it_compiles_to_the_same(unchecked):
    student, teacher = pair(SHAPES[0])
    results = []
    for run in (KDSVD(2), torch.compile(KDSVD(2), fullgraph=True, backend="aot_eager")):
        features = [x.clone().requires_grad_() for x in student]
        loss = run(features, teacher)
        loss.backward()
        results.append([loss.detach(), *(x.grad for x in features)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


class Model(torch.nn.Module):
    def __init__(self, widths, stride):
        super().__init__()
        self.first = torch.nn.Conv2d(3, widths[0], stride, stride)
        self.second = torch.nn.Conv2d(widths[0], widths[1], 2, 2)

    def forward(self, images):
        return self.second(self.first(images))


@pytest.mark.parametrize("direction", ["inverted", "traditional", "none"])
def test_in_a_link_of_two_levels(direction):
    widths = (3, 5) if direction == "none" else (6, 7)
    student, teacher = Model((3, 5), 2), Model(widths, 1)
    taps, images = ["first", "second"], torch.rand(2, 3, 8, 12)
    link = at.Link(taps, taps, loss=KDSVD(), direction=direction)
    distiller = at.Distiller(student, teacher, [link], example=images)
    distiller(images).total.backward()
    for parameter in (student.first.weight, student.second.weight):
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()
    projectors = list(distiller.connections.parameters())
    assert len(projectors) == (0 if direction == "none" else 2)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in projectors)


def test_what_it_needs_is_said():
    pooled = at.Link(["first", "second"], ["first", "second"], loss=KDSVD(), compare="pooled")
    with pytest.raises(LayoutError, match=r"KDSVD needs maps .* directions over its positions"):
        at.Distiller(Model((3, 5), 2), Model((6, 7), 2), [pooled], example=torch.rand(2, 3, 8, 8))
    student, teacher = pair(SHAPES[0])
    with pytest.raises(LayoutError, match="two at least, got 1 and 2"):
        kd_svd(student[:1], teacher)
    with pytest.raises(LayoutError, match="two at least, got 1 and 1"):
        kd_svd(student[:1], teacher[:1])
    with pytest.raises(LayoutError, match="kd_svd compares features of one width"):
        kd_svd(student, [x[:, :3] for x in teacher])
    with pytest.raises(LayoutError, match=r"of maps .* got \(2, 4, 3, 5\) .* and \(2, 4\)"):
        kd_svd(student, [x.mean((2, 3)) for x in teacher])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KDSVD(0), r"at least 1 vector, .* got 0, 3 and 8\.0"),
        (lambda: KDSVD(spare=-1), r"0 or more to spare .* got 1, -1 and 8\.0"),
        (lambda: KDSVD(beta=0.0), r"positive beta, got 1, 3 and 0\.0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
