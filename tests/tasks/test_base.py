import torch

from anyteacher.tasks import Classification, Depth, Segmentation


def test_the_classes_of_a_batch_are_the_tasks_own() -> None:
    label, pixels = torch.arange(2), torch.zeros(2, 4, 4).long()
    both = {"label": label, "segmentation": pixels}
    found = {task: task.classes_in(both) for task in (Classification(3), Segmentation(3), Depth())}
    assert [value is pixels for value in found.values()] == [False, True, False]
    assert Depth().classes_in({"segmentation": pixels}) is pixels
    assert Depth().classes_in({"depth": pixels}) is None
