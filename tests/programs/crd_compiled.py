"""Trains with CRD, compiled as one graph and not: the losses, gradients and memories agree."""

import torch

from anyteacher.losses import CRD


def train(compiled: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    loss = CRD(20, 5, negatives=8)
    loss.build(3, 4)
    loss.double()
    run = torch.compile(loss, fullgraph=True, backend="aot_eager") if compiled else loss
    found = []
    for step in range(3):
        torch.manual_seed(step)
        student = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
        value = run(student, torch.randn(6, 4, dtype=torch.float64), indices=torch.randperm(20)[:6])
        value.backward()
        found += [value.detach(), student.grad, loss.student_memory, loss.teacher_memory]
    return [*found, loss.log_z]


if __name__ == "__main__":
    for mine, theirs in zip(train(compiled=True), train(compiled=False), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-10)
    print("the same")
