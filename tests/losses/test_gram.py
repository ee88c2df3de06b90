import math

import pytest
import torch
from slow import close, pair, slow_cosine, table

from anyteacher.errors import LayoutError
from anyteacher.losses.gram import (
    check_images,
    cosines,
    deviations,
    flat,
    gram,
    inverse_root,
    not_negative,
    squared_distances,
)


def test_the_gradient_of_a_gram_matrix():
    rows = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    uneven = torch.randn(2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(gram(rows), rows @ rows.mT)
    assert torch.autograd.gradcheck(lambda x: (gram(x) * uneven).sum(), rows)


def test_distances_below_rounding_are_none():
    """Equal images far from the first are at distance zero, whatever the products' rounding."""
    rows = torch.randn(1, 5000).expand(6, -1) * 100
    squares, apart = squared_distances(gram(torch.cat([torch.zeros(1, 5000), rows])))
    assert apart[0, 1:].all()
    assert not apart[1:, 1:].any()
    assert squares[0, 1:].allclose(rows[0].square().sum())


def test_flat_rows_are_the_same_up_to_the_order_of_their_elements():
    x = torch.randn(3, 4, 2, 5)
    torch.testing.assert_close(flat(x), x.flatten(1))
    last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(flat(last), x.movedim(1, -1).flatten(1))
    assert flat(last).data_ptr() == last.data_ptr()  # no copy
    vectors = torch.randn(3, 4)
    assert torch.equal(flat(vectors), vectors)


def test_deviations_of_equal_rows_are_exactly_zero():
    assert not deviations(torch.full((6, 50), 0.1)).any()
    rows = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    mine = deviations(rows)
    for a in range(4):
        torch.testing.assert_close(mine - mine[a], rows - rows[a])
    # A quantity that a shift leaves alone has the gradient that it has of the rows themselves.
    (torch.pdist(mine) ** 3).sum().backward()
    found, rows.grad = rows.grad, None
    (torch.pdist(rows) ** 3).sum().backward()
    torch.testing.assert_close(found, rows.grad)


def test_an_inverse_root_of_nothing_is_nothing():
    x = torch.tensor([4.0, 0.0, 1e-44], requires_grad=True)
    inverse = inverse_root(x)
    assert inverse.tolist() == [0.5, 0.0, 0.0]
    inverse.sum().backward()
    assert x.grad.tolist() == [-1 / 16, 0.0, 0.0]


def test_cosines_against_plain_loops():
    rows = torch.randn(4, 3, dtype=torch.float64)
    expected = torch.tensor(table(rows, slow_cosine), dtype=torch.float64)
    torch.testing.assert_close(cosines(rows), expected)
    rows[2] = 0
    assert not cosines(rows)[2].any()
    assert not cosines(rows)[:, 2].any()


def test_squared_distances_against_the_rows():
    (rows,) = pair([(5, 3)])
    squares, apart = squared_distances(gram(rows))
    torch.testing.assert_close(squares, torch.cdist(rows, rows) ** 2)
    assert torch.equal(apart, ~torch.eye(5, dtype=torch.bool))
    close(squares[0, 1].sqrt(), math.dist(*rows[:2].tolist()))


def test_what_rounding_takes_below_zero_is_zero_and_keeps_its_gradient():
    x = torch.tensor([-1e-8, 0.0, 3.0, math.inf], requires_grad=True)
    value = not_negative(x)
    assert value.tolist() == [0.0, 0.0, 3.0, math.inf]
    value.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_too_few_images_are_refused_with_advice():
    check_images("mine", 3, 3)
    with pytest.raises(LayoutError, match=r"mine .* at least 3 of them, got 2\. Use a larger"):
        check_images("mine", 2, 3)
