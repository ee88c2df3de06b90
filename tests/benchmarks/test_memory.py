import torch
from benchmarks.memory import kept_bytes, peak_bytes


def test_kept_bytes_counts_each_saved_tensor_once_and_no_parameter():
    x = torch.randn(8, 4, requires_grad=True)
    weight = torch.nn.Parameter(torch.randn(4, 4))
    assert kept_bytes(lambda: x @ weight) == 8 * 4 * 4  # x, for the gradient of the weight
    assert kept_bytes(lambda: x * x) == 8 * 4 * 4  # x twice
    assert kept_bytes(lambda: x + 1) == 0


def test_peak_bytes_counts_what_is_alive_at_once():
    x, size = torch.randn(1000), 4000

    def one_after_the_other():
        for _ in range(5):
            x.exp()

    def together():
        return [x.exp() for _ in range(5)]

    assert peak_bytes(one_after_the_other) == size
    assert peak_bytes(together) == 5 * size
    assert peak_bytes(lambda: x.view(10, 100)) == 0


def test_peak_bytes_counts_what_is_inside_an_operation_and_in_the_backward():
    x = torch.randn(1000, requires_grad=True)
    strided = torch.randn(30, 40).T
    assert peak_bytes(lambda: strided.reshape(1200).view(30, 40) @ strided) >= 4800 + 3600
    backward = peak_bytes(lambda: torch.autograd.grad((x * x).sum(), x))
    assert 8000 <= backward < 12100  # the gradients by both factors, the scalars besides


def test_what_was_there_before_does_not_count():
    kept = [torch.randn(1000)]
    assert peak_bytes(kept.clear) == 0
