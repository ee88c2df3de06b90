import pytest
import torch
import torch.nn.functional as F

from anyteacher.analysis import Alignment, on_one_grid
from anyteacher.errors import DataError
from anyteacher.spectral import Moments


def cka(x, y):
    """From the definition, on kernels of images and positions."""
    n = len(x)
    centring = torch.eye(n).double() - 1 / n
    k, m = (centring @ z @ z.T @ centring for z in (x.double(), y.double()))
    return (k * m).sum() / (k.norm() * m.norm())


def test_the_matrix_is_the_alignment_of_each_pair_over_all_batches():
    students = {"a": torch.randn(6, 3, 4, 4), "b": torch.randn(6, 5, 2, 2)}
    teachers = {"c": torch.randn(6, 4, 3, 4), "a": torch.randn(6, 2, 8, 8)}
    alignment = Alignment()
    for part in (slice(0, 4), slice(4, 6)):
        alignment.add(*({n: f[part] for n, f in side.items()} for side in (students, teachers)))
    names, others, matrix = alignment.matrix()
    assert (names, others) == (["a", "b"], ["c", "a"])
    for i, mine in enumerate(students.values()):
        for j, other in enumerate(teachers.values()):
            size = [min(mine.shape[axis], other.shape[axis]) for axis in (2, 3)]
            rows = [
                F.adaptive_avg_pool2d(f.double(), size).movedim(1, -1).flatten(0, 2)
                for f in (mine, other)
            ]
            assert float(matrix[i, j]) == pytest.approx(float(cka(*rows)))
            assert float(matrix[i, j]) == pytest.approx(float(Moments.of(*rows).cka()))


def test_a_vector_among_the_features_leaves_the_maps_their_positions():
    maps = {"a": torch.randn(9, 3, 4, 4)}, {"b": torch.randn(9, 2, 4, 4)}
    alone, beside = Alignment(), Alignment()
    alone.add(*maps)
    vector = torch.randn(9, 5)
    beside.add({**maps[0], "v": vector}, {**maps[1], "w": vector})
    values = beside.matrix()[2]
    assert float(values[0, 0]) == float(alone.matrix()[2])
    pooled = maps[0]["a"].mean((2, 3))
    assert float(values[0, 1]) == pytest.approx(float(cka(pooled, vector)), rel=1e-5)


def test_a_feature_is_aligned_with_itself_and_not_with_noise():
    alignment = Alignment()
    x = torch.randn(2000, 3)
    alignment.add(
        {"x": x},
        {"turned": 5 * x @ torch.linalg.qr(torch.randn(3, 3)).Q + 1, "noise": torch.randn(2000, 3)},
    )
    values = alignment.matrix()[2][0]
    assert float(values[0]) == pytest.approx(1.0, abs=1e-6)
    assert float(values[1]) < 0.02


def test_beside_a_vector_maps_are_averaged_whole():
    maps, vectors = torch.randn(5, 3, 4, 2), torch.randn(5, 7)
    rows = on_one_grid([maps, vectors])
    assert torch.allclose(rows[0], maps.mean((2, 3)).double())
    assert torch.equal(rows[1], vectors.double())


def test_maps_of_one_size_keep_every_position():
    maps = torch.randn(2, 3, 4, 5)
    (rows,) = on_one_grid([maps])
    assert torch.equal(rows, maps.permute(0, 2, 3, 1).reshape(40, 3).double())


def test_without_a_batch_there_is_no_matrix():
    with pytest.raises(DataError, match="at least one batch"):
        Alignment().matrix()
