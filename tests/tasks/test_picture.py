import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.errors import DataError
from anyteacher.tasks import Translation
from anyteacher.tasks.base import Task
from anyteacher.tasks.picture import PictureTask


def test_what_it_leaves_open_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        PictureTask()
    assert PictureTask.__abstractmethods__ < Task.__abstractmethods__


def test_pictures_are_taken_as_they_are_unknown_pixels_included() -> None:
    picture = torch.rand(1, 3, 4, 5)
    picture[..., 0] = torch.nan
    assert Translation().picture_of({"target": picture}) is picture


def test_other_targets_are_refused() -> None:
    task, output = Translation(), torch.zeros(1, 3, 12, 12)
    with pytest.raises(DataError, match=r"\[0, 1\], but goes from 0\.0 to 255\.0.*255"):
        task.loss(output, {"target": torch.linspace(0, 255, 432).reshape(1, 3, 12, 12)})
    with pytest.raises(DataError, match=r"\(batch, 3, height, width\), but is \(1, 1, 12, 12\)"):
        task.update(task.metrics(), output, {"target": torch.zeros(1, 1, 12, 12)})


def test_saved_is_the_picture(tmp_path) -> None:
    prediction = torch.rand(3, 5, 7)
    (path,) = Translation().save(prediction, tmp_path / "photo")
    assert path.name == "photo_translated.png"
    with Image.open(path) as picture:
        colors = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
    assert (colors - prediction).abs().max() <= 0.5 / 255 + 1e-6
