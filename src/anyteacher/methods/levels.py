"""Methods over several levels: give both sides a list of taps, the shallowest first."""

from anyteacher.link import Link, Taps
from anyteacher.losses import FSP, HCL, KDSVD, Direction
from anyteacher.methods.base import linked
from anyteacher.projectors import ABF, Linear


def fsp(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """Flow of solution procedure: how the channels of one level go with those of the next.

    Source: Yim, Joo, Bae and Kim, "A Gift from Knowledge Distillation: Fast Optimization, Network
        Minimization and Transfer Learning", CVPR 2017.
    Taps: the start and end of each stage, of two networks of the same widths.
    Original: none, alone in a first stage, summed over the entries of the matrices.
    Weight: 1, ours, of the mean over the entries: beside the task's loss the sum would drown it.
    """
    return linked(
        "fsp",
        student,
        teacher,
        FSP(entries="mean"),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
    )


def kd_svd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """How the main directions of one level's channels relate to those of the next.

    Source: Lee, Kim and Song, "Self-supervised Knowledge Distillation Using Singular Value
        Decomposition", ECCV 2018.
    Taps: the end of each stage.
    Original: none, of two networks of the same widths, and summed over the batch.
    Weight: 1, ours, of the mean over the images. The authors' code has half the sum over them, and
        clips the gradient.
    """
    return linked(
        "kd_svd", student, teacher, KDSVD(), direction, weight=weight, of=of, projector=Linear()
    )


def reviewkd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """Knowledge review: deeper levels are fused into the shallower, and compared as pyramids.

    Source: Chen, Liu, Zhao and Jia, "Distilling Knowledge via Knowledge Review", CVPR 2021.
    Taps: the end of each stage.
    Original: traditional, with the vector before the classifier as deepest level; on CIFAR-100 the
        weight grows over the first 20 epochs.
    Weight: 1, the authors' on ImageNet; 0.6 to 8 on CIFAR-100.
    """
    return linked(
        "reviewkd", student, teacher, HCL(), direction, weight=weight, of=of, projector=ABF()
    )
