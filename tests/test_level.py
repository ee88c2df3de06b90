import pytest
import torch

import anyteacher as at
from anyteacher.errors import LayoutError, TapError
from anyteacher.layout import Layout
from anyteacher.level import Level, Source, size_of

SIZE = (16, 24)
LINK = at.Link("a", "b")
MAP, TOKENS = Source(torch.rand(2, 3, 4, 6), SIZE), Source(torch.rand(2, 25, 5), SIZE)
VECTOR = Source(torch.rand(2, 7), SIZE)


def test_the_layouts_are_found_or_as_stated():
    level = Level.found(LINK, MAP, TOKENS)
    assert (level.student, level.teacher) == (Layout("map"), Layout("tokens", 1))
    assert level.widths(MAP, TOKENS) == (3, 5)
    stated = LINK.filled(teacher_layout=Layout("tokens", 1, (4, 6)))
    assert Level.found(stated, MAP, TOKENS).teacher.grid == (4, 6)


def test_a_vector_goes_with_a_map_only_where_both_are_pooled():
    with pytest.raises(LayoutError, match=r"have no positions in common. Use compare=\"pooled\""):
        Level.found(LINK, MAP, VECTOR)
    level = Level.found(LINK.filled(compare="pooled"), MAP, VECTOR)
    assert level.widths(MAP, VECTOR) == (3, 7)


def test_tokens_without_a_grid_are_a_column():
    odd = Source(torch.rand(2, 77, 5), SIZE)
    level = Level.found(LINK, odd, odd)
    assert (level.student.grid, level.teacher.grid) == ((77, 1), (77, 1))
    with pytest.raises(LayoutError, match="no grid was found"):
        Level.found(LINK, odd, MAP)


def test_the_size_of_images():
    assert size_of(torch.rand(2, 3, 4, 5)) == (4, 5)
    with pytest.raises(TapError, match=r"\(B, C, H, W\) are needed, got .* \(3, 4, 5\)"):
        size_of(torch.rand(3, 4, 5))
    with pytest.raises(TapError, match=r"got torch.uint8. Divide bytes by 255"):
        size_of(torch.zeros(2, 3, 4, 5, dtype=torch.uint8))
