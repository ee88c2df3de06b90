import pytest

from anyteacher.hints import known_classes
from anyteacher.losses import Loss
from anyteacher.objective import Objective
from anyteacher.regularizers import Regularizer


def test_what_a_link_may_add_is_a_loss_or_a_regulariser():
    both = known_classes(Loss) + known_classes(Regularizer)
    assert {cls.__name__ for cls in known_classes(Objective)} == {cls.__name__ for cls in both}
    with pytest.raises(TypeError, match="abstract"):
        Regularizer()
