"""Methods that compare where features are strong, and what their channels select."""

from anyteacher.link import Link, Taps
from anyteacher.losses import AT, CWD, ICKD, NST, Direction
from anyteacher.methods.base import linked
from anyteacher.projectors import Linear


def at(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1000.0,
    of: str = "",
) -> list[Link]:
    """Attention transfer: the student is to look where the teacher looks.

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention: Improving the Performance
        of Convolutional Neural Networks via Attention Transfer", ICLR 2017.
    Taps: the end of each stage.
    Original: none.
    Weight: 1000, the authors', of the mean squared difference of the maps, as in their code.
    """
    return linked("at", student, teacher, AT(), direction, weight=weight, of=of, projector=Linear())


def cwd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 3.0,
    of: str = "",
) -> list[Link]:
    """Channel-wise distillation: each channel is to be strong where its counterpart is.

    Source: Shu, Liu, Gao, Yan and Shen, "Channel-wise Knowledge Distillation for Dense
        Prediction", ICCV 2021.
    Taps: the maps of logits, or the last features.
    Original: none between logits of the same classes, traditional between features.
    Weight: 3, the authors' for logits at temperature 4; ours for features, which they weigh more.
    """
    return linked(
        "cwd", student, teacher, CWD(4.0), direction, weight=weight, of=of, projector=Linear()
    )


def ickd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 2.5,
    of: str = "",
) -> list[Link]:
    """Inter-channel correlation: channels are to be alike or unlike as the teacher's are.

    Source: Liu, Huang, Lin, Xie, Wang, Chang and Liang, "Exploring Inter-Channel Correlation for
        Diversity-preserved Knowledge Distillation", ICCV 2021.
    Taps: the last map of each.
    Original: traditional, with a 1x1 convolution and batch normalisation as projector.
    Weight: 2.5, the authors' on CIFAR-100, of the form of their code.
    """
    return linked(
        "ickd",
        student,
        teacher,
        ICKD(unit="rows"),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
    )


def nst(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 50.0,
    of: str = "",
) -> list[Link]:
    """Neuron selectivity transfer: the channels are to select places as the teacher's do.

    Source: Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer",
        2017 (arXiv 1707.01219).
    Taps: the end of each stage.
    Original: none.
    Weight: 50, of Tian et al. ("Contrastive Representation Distillation", ICLR 2020).
    """
    return linked(
        "nst", student, teacher, NST(), direction, weight=weight, of=of, projector=Linear()
    )
