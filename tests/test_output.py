import torch

from anyteacher import Output


def test_its_tensors_are_found_and_replaced_by_what_walks_trees():
    output = Output(torch.ones(2), {"a": torch.tensor(1.0)}, torch.tensor(3.0), {"a": "seen"})
    leaves, spec = torch.utils._pytree.tree_flatten(output)
    assert [leaf.tolist() for leaf in leaves] == [[1.0, 1.0], 1.0, 3.0]
    again = torch.utils._pytree.tree_unflatten([2 * leaf for leaf in leaves], spec)
    assert isinstance(again, Output)
    assert (float(again.total), float(again.losses["a"])) == (6.0, 2.0)
    assert again.observations == {"a": "seen"}


def test_each_has_numbers_of_its_own():
    first = Output(None)
    first.losses["a"] = first.total
    assert Output(None).losses == {}
