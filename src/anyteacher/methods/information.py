"""Methods that bound the information which two features share."""

from anyteacher.link import Link, Taps
from anyteacher.losses import CRD, VID, Direction, InfoNCE
from anyteacher.methods.base import linked
from anyteacher.projectors import MLP, Linear


def vid(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """Variational information: squared differences with a learned precision for each channel.

    Source: Ahn, Hu, Damianou, Lawrence and Dai, "Variational Information Distillation for Knowledge
        Transfer", CVPR 2019.
    Taps: the end of each stage.
    Original: traditional, with three 1x1 convolutions as projector; here two.
    Weight: 1, of Tian et al. ("Contrastive Representation Distillation", ICLR 2020). The authors
        choose another for each pair of networks.
    """
    return linked("vid", student, teacher, VID(), direction, weight=weight, of=of, projector=MLP())


def crd(
    student: Taps,
    teacher: Taps,
    *,
    samples: int,
    direction: Direction = "inverted",
    weight: float = 0.8,
    of: str = "",
) -> list[Link]:
    """Contrastive: either vector of an image is told from remembered ones of other images.

    `samples` is the number of training images; the distiller is to be told their `indices`.

    Source: Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020.
    Taps: the vectors before the classifier.
    Original: none; the loss has embeddings of its own.
    Weight: 0.8, the authors'.
    """
    return linked(
        "crd",
        student,
        teacher,
        CRD(samples),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
        compare="pooled",
    )


def info_nce(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """Contrastive, without a memory: either vector of an image is told from those of its batch.

    Source: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive
        Coding", 2018 (arXiv 1807.03748); between two networks and with both anchors Radford et al.,
        "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
    Taps: the vectors before the classifier.
    Original: none; the loss has embeddings of its own.
    Weight: 1, ours.
    """
    return linked(
        "info_nce",
        student,
        teacher,
        InfoNCE(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
        compare="pooled",
    )
