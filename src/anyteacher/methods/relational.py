"""Methods that compare relations between the images of a batch."""

from anyteacher.link import Link, Taps
from anyteacher.losses import CC, CKA, PKT, SP, Direction, RKDAngle, RKDDistance
from anyteacher.methods.base import linked
from anyteacher.projectors import Linear


def sp(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 3000.0,
    of: str = "",
) -> list[Link]:
    """Similarity-preserving: images are to be as similar to each other as for the teacher.

    Source: Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019.
    Taps: the last block of each stage.
    Original: none.
    Weight: 3000, the authors' on CIFAR-10.
    """
    return linked("sp", student, teacher, SP(), direction, weight=weight, of=of, projector=Linear())


def rkd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 25.0,
    of: str = "",
) -> list[Link]:
    """Relational distillation: distances between pairs and angles between triples of images.

    Two links. `weight` is that of the distances; the angles count twice as much.

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation", CVPR 2019.
    Taps: the vectors before the classifier, or the embeddings.
    Original: none, of vectors of unit length; before the projection, where there is one.
    Weight: 25, the authors' for classification, beside 50 for the angles; 1 and 2 for metric
        learning.
    """
    links = []
    for name, loss, share in (("distance", RKDDistance(), 1), ("angle", RKDAngle(), 2)):
        links += linked(
            f"rkd {name}",
            student,
            teacher,
            loss,
            direction,
            weight=share * weight,
            of=of,
            projector=Linear(),
            compare="pooled",
            student_norm="l2",
            teacher_norm="l2",
        )
    return links


def pkt(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 30000.0,
    of: str = "",
) -> list[Link]:
    """Probabilistic knowledge transfer: which images are neighbours, as probabilities.

    Source: Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge
        Transfer", ECCV 2018.
    Taps: the vectors before the classifier.
    Original: none, without another loss.
    Weight: 30000, of Tian et al. ("Contrastive Representation Distillation", ICLR 2020).
    """
    return linked(
        "pkt",
        student,
        teacher,
        PKT(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
        compare="pooled",
    )


def cc(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 100.0,
    of: str = "",
) -> list[Link]:
    """Correlation congruence: Gaussian kernels between images are to agree.

    Source: Peng, Jin, Liu, Li, Wu, Liu, Zhou and Zhang, "Correlation Congruence for Knowledge
        Distillation", ICCV 2019.
    Taps: the vectors before the classifier.
    Original: none, with an embedding of either side to one width.
    Weight: 100, ours. The 0.02 of Tian et al. ("Contrastive Representation Distillation", ICLR
        2020) is for a sum over the elements: `losses.CC(by="neighbours")`.
    """
    return linked(
        "cc",
        student,
        teacher,
        CC(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
        compare="pooled",
    )


def cka(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """Centred kernel alignment: the Gram matrices of the batch are to have a cosine of 1.

    Source: Saha, Bialkowski and Khalifa, "Distilling Representational Similarity using Centered
        Kernel Alignment (CKA)", BMVC 2022.
    Taps: the last features of both.
    Original: none.
    Weight: 1, ours.
    """
    return linked(
        "cka", student, teacher, CKA(), direction, weight=weight, of=of, projector=Linear()
    )
