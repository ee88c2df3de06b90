import math

import numpy as np
import pytest
import torch
from PIL import Image

from anyteacher.errors import DataError
from anyteacher.tasks.edges import Edges, balanced


def cross_entropy(logit: float, edge: bool) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if edge else 1 - probability)


def test_loss_equals_the_slow_reference() -> None:
    torch.manual_seed(0)
    output = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    edges = torch.rand(3, 1, 4, 5) < 0.3
    edges[1], edges[2] = False, True
    images = []
    for logits, truths in zip(output, edges, strict=True):
        pairs = list(zip(logits.flatten().tolist(), truths.flatten().tolist(), strict=True))
        kinds = [[cross_entropy(x, y) for x, y in pairs if y == kind] for kind in (False, True)]
        means = [sum(kind) / len(kind) for kind in kinds if kind]
        images.append(sum(means) / len(means))
    loss = Edges().loss(output, {"edges": edges.float()})
    assert float(loss) == pytest.approx(sum(images) / 3, rel=1e-12)


def test_loss_of_an_image_is_that_of_xie_and_tu_but_for_its_factor() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    edges = torch.rand(1, 1, 6, 6) < 0.2
    share = float(edges.double().mean())
    theirs = sum(
        (1 - share if edge else share) * cross_entropy(logit, edge)
        for logit, edge in zip(logits.flatten().tolist(), edges.flatten().tolist(), strict=True)
    )
    expected = theirs / 36 / (2 * share * (1 - share))
    assert float(balanced(logits, edges)) == pytest.approx(expected, rel=1e-12)


def test_other_targets_are_refused() -> None:
    task, output = Edges(), torch.zeros(2, 1, 3, 4)
    with pytest.raises(DataError, match=r"1 on an edge and 0 elsewhere.*from 0\.5 to 0\.5"):
        task.loss(output, {"edges": torch.full((2, 1, 3, 4), 0.5)})
    with pytest.raises(DataError, match=r"\(batch, 1, height, width\), but is \(2, 3, 4\)"):
        task.update(task.metrics(), output, {"edges": torch.zeros(2, 3, 4)})


def test_saved_edges_are_dark(tmp_path) -> None:
    prediction = torch.linspace(0, 1, 35).reshape(1, 5, 7)
    (path,) = Edges().save(prediction, tmp_path / "photo")
    assert path.name == "photo_edges.png"
    with Image.open(path) as picture:
        grey = np.asarray(picture.convert("L")).astype(np.float32)
    assert np.abs(1 - grey / 255 - prediction[0].numpy()).max() <= 0.5 / 255 + 1e-6
