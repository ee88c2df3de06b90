import inspect

import pytest

from anyteacher import IMAGENET
from anyteacher.data.kinds import DepthData, DrawnData, SceneData
from anyteacher.errors import ConfigError
from anyteacher.hints import known_classes


class Scenes(SceneData):
    classes = 7

    def source(self, split):
        raise NotImplementedError


class Depths(DepthData):
    source = Scenes.source


class Drawn(DrawnData):
    source = Scenes.source


@pytest.mark.parametrize("kind", [SceneData, DepthData, DrawnData])
def test_a_kind_is_no_data_set_and_says_nothing_of_one(kind):
    assert inspect.isabstract(kind)
    assert kind not in known_classes(kind)
    assert len(known_classes(kind)) > 1


def test_what_they_say_of_themselves(tmp_path):
    scenes = Scenes(str(tmp_path), batch_size=3)
    assert (scenes.root, scenes.size, scenes.batch_size) == (tmp_path, (512, 512), 3)
    assert scenes.facts().classes == {"segmentation": 7}
    depths = Depths(tmp_path, max_depth=5.0)
    assert (depths.facts().targets, depths.facts().max_depth) == (("depth",), 5.0)
    assert scenes.facts().norm == depths.facts().norm == IMAGENET
    assert Drawn(tmp_path, "BtoA").direction == "BtoA"


def test_a_depth_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match="max_depth must be a positive number, not nan"):
        Depths(tmp_path, max_depth=float("nan"))


def test_a_direction_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"No direction 'AtoC'\. Did you mean AtoB"):
        Drawn(tmp_path, "AtoC")
