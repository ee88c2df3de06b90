"""Methods that compare the logits of two models of the same classes; they project nothing."""

from anyteacher.link import Link, Taps
from anyteacher.losses import DIST, DKD, KD, Direction, StandardizedKD
from anyteacher.methods.base import linked


def kd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "none",
    weight: float = 0.9,
    of: str = "",
) -> list[Link]:
    """Knowledge distillation: the divergence of the softened class probabilities.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", NeurIPS 2014
        workshop.
    Taps: the logits.
    Original: none; they say of the weight only that the task's is to be considerably lower.
    Weight: 0.9, of Tian et al. ("Contrastive Representation Distillation", ICLR 2020), at
        temperature 4 and beside 0.1 of the task's loss. Beside the whole of it that is 9.
    """
    return linked("kd", student, teacher, KD(4.0), direction, weight=weight, of=of)


def standardized_kd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "none",
    weight: float = 9.0,
    of: str = "",
) -> list[Link]:
    """Knowledge distillation from the z-scores of the logits.

    Source: Sun, Ren, Li, Wang and Cao, "Logit Standardization in Knowledge Distillation", CVPR
        2024.
    Taps: the logits.
    Original: none.
    Weight: 9, the authors' on CIFAR-100, at temperature 2 and beside 0.1 of the task's loss. Beside
        the whole of it that is 90.
    """
    return linked(
        "standardized_kd", student, teacher, StandardizedKD(2.0), direction, weight=weight, of=of
    )


def dkd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "none",
    weight: float = 1.0,
    of: str = "",
    ignore: int = -100,
) -> list[Link]:
    """Decoupled distillation: the target class and the others weighed apart.

    The distiller is to be told the `targets`. `ignore` is the label of what has none: 255 in the
    segmentation of this package.

    Source: Zhao, Cui, Song, Qiu and Liang, "Decoupled Knowledge Distillation", CVPR 2022.
    Taps: the logits.
    Original: none; the weight grows over the first 20 epochs.
    Weight: 1, the authors', with 1 and 8 for the two parts at temperature 4 on CIFAR-100.
    """
    return linked(
        "dkd", student, teacher, DKD(1.0, 8.0, 4.0, ignore), direction, weight=weight, of=of
    )


def dist(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "none",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """Correlations of the class probabilities, of the rows and of the columns.

    Source: Huang, You, Wang, Qian and Xu, "Knowledge Distillation from A Stronger Teacher", NeurIPS
        2022.
    Taps: the logits.
    Original: none.
    Weight: 1, the authors' on ImageNet, of both parts at temperature 1.
    """
    return linked("dist", student, teacher, DIST(), direction, weight=weight, of=of)
