"""Methods that compare features element by element, or row by row."""

from anyteacher.link import Link, Taps
from anyteacher.losses import (
    AB,
    MGD,
    MSE,
    OFD,
    Cosine,
    Direction,
    FactorTransfer,
    LogSum,
    SmoothL1,
)
from anyteacher.methods.base import halving, linked
from anyteacher.projectors import Ensemble, Linear, Orthogonal


def inverted(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 0.1,
    of: str = "",
) -> list[Link]:
    """Cross-task distillation: a linear map of the teacher's features, and mean squared error.

    Both sides are standardised over the batch. So the student cannot escape by shrinking its
    features, and the loss is the share of their variance that the teacher does not explain, from 1
    down to 0, whatever the scale of either network.

    Source: Auty, Miles, Kolbeinsson and Mikolajczyk, "Learning to Project for Cross-Task Knowledge
        Distillation", 2024 (arXiv 2403.14494).
    Taps: the last features of both backbones.
    Original: inverted, and with other losses too: any method here with `direction="inverted"`.
    Weight: 0.1, ours: on the built-in benchmark, whose records are published, better on the whole
        than 1, which is better for image classification.
    """
    return linked(
        "inverted",
        student,
        teacher,
        MSE(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
        student_norm="batch",
        teacher_norm="batch",
    )


def fitnet(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """Hints: the squared difference of the features as they are.

    Source: Romero, Ballas, Kahou, Chassang, Gatta and Bengio, "FitNets: Hints for Thin Deep Nets",
        ICLR 2015.
    Taps: a middle layer of each.
    Original: traditional, with a convolution as projector, alone in a first stage.
    Weight: 1, ours. Tian et al. ("Contrastive Representation Distillation", ICLR 2020) train it
        beside the task, in one stage, and weigh it with 100 on CIFAR-100.
    """
    return linked(
        "fitnet",
        student,
        teacher,
        MSE(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(bias=True),
    )


def simple_recipe(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
) -> list[Link]:
    """The logarithm of the summed fourth powers of the differences of standardised features.

    Both sides are standardised after the projection, so that a bias of it would change nothing.

    Source: Miles and Mikolajczyk, "Understanding the Role of the Projector in Knowledge
        Distillation", AAAI 2024.
    Taps: the last stages of both, pooled.
    Original: traditional. Their code has the fourth power of 1 minus the correlation of each
        channel; that too falls with the eighth power of a small difference.
    Weight: 1, the authors' on ImageNet.
    """
    return linked(
        "simple_recipe",
        student,
        teacher,
        LogSum(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
        compare="pooled",
    )


def vkd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 1.0,
    of: str = "",
    whiten: bool = False,
) -> list[Link]:
    """An orthogonal projection, and smooth L1 to the teacher's feature after a layer norm.

    With `whiten`, for students that generate images or maps, the teacher's feature is whitened in
    place of the layer norm, and compared by position: whitening needs more rows than channels.

    Source: Miles, Elezi and Deng, "VkD: Improving Knowledge Distillation using Orthogonal
        Projections", CVPR 2024.
    Taps: the last features of both, tokens or maps, pooled.
    Original: traditional, beside KD of the logits.
    Weight: 1, the authors' on ImageNet.
    """
    return linked(
        "vkd",
        student,
        teacher,
        SmoothL1(),
        direction,
        weight=weight,
        of=of,
        projector=Orthogonal(),
        teacher_norm="whiten" if whiten else "layer",
        compare="positions" if whiten else "pooled",
    )


def projector_ensemble(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 25.0,
    of: str = "",
) -> list[Link]:
    """The mean of three projections with a ReLU each, compared by their cosine.

    Source: Chen, Wang, Liu, Xu, de Hoog and Huang, "Improved Feature Distillation via Projector
        Ensemble", NeurIPS 2022.
    Taps: the features before the classifier, pooled.
    Original: traditional.
    Weight: 25, the authors'.
    """
    return linked(
        "projector_ensemble",
        student,
        teacher,
        Cosine(),
        direction,
        weight=weight,
        of=of,
        projector=Ensemble(3),
        compare="pooled",
    )


def mgd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 2e-5,
    of: str = "",
) -> list[Link]:
    """Masked generation: from a part of the student's map, the teacher's is to be made.

    Source: Yang, Li, Shao, Shi, Yuan and Yuan, "Masked Generative Distillation", ECCV 2022.
    Taps: the levels of the feature pyramid for detection, the last map otherwise.
    Original: traditional. For segmentation they hide 0.75 of the positions, for classification
        0.15 of the channels, with a weight of 7e-5: `losses.MGD(0.15, mask="channels")`.
    Weight: 2e-5, the authors' for detection and segmentation, of the sum over the elements: a small
        map wants more.
    """
    return linked(
        "mgd",
        student,
        teacher,
        MGD(0.65),
        direction,
        weight=weight,
        of=of,
        projector=Linear(bias=True),
    )


def ofd(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 0.001,
    of: str = "",
) -> list[Link]:
    """The overhaul: a partial L2 distance of responses before their ReLU.

    Source: Heo, Kim, Yun, Park, Kwak and Choi, "A Comprehensive Overhaul of Feature Distillation",
        ICCV 2019.
    Taps: the end of each stage, before the ReLU: the teacher's best at its batch normalisation.
    Original: traditional, with a 1x1 convolution and batch normalisation as projector.
    Weight: 0.001, the authors', of the sum over the elements; a level counts half the next deeper.
    """
    return linked(
        "ofd",
        student,
        teacher,
        OFD(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(bias=True),
        level_weights=halving(student),
    )


def ab(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "traditional",
    weight: float = 0.003,
    of: str = "",
) -> list[Link]:
    """Activation boundaries: the student is to be active where the teacher is.

    Only `traditional` and `none`: the sign of a projected teacher's feature has no gradient.

    Source: Heo, Lee, Yun and Choi, "Knowledge Transfer via Distillation of Activation Boundaries
        Formed by Hidden Neurons", AAAI 2019.
    Taps: the end of each stage, before the ReLU.
    Original: traditional, with a 1x1 convolution and batch normalisation as projector, alone in a
        first stage.
    Weight: 0.003, the authors', of the sum over the elements; a level counts half the next deeper.
    """
    return linked(
        "ab",
        student,
        teacher,
        AB(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(bias=True),
        level_weights=halving(student),
    )


def ft(
    student: Taps,
    teacher: Taps,
    *,
    direction: Direction = "inverted",
    weight: float = 500.0,
    of: str = "",
) -> list[Link]:
    """Factor transfer: a translator of the student's map is to match a paraphrase of the teacher's.

    Source: Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via Factor
        Transfer", NeurIPS 2018.
    Taps: the last map of each.
    Original: none. They train the paraphraser in a stage before; here it learns beside the student.
    Weight: 500, the authors' on CIFAR.
    """
    return linked(
        "ft",
        student,
        teacher,
        FactorTransfer(),
        direction,
        weight=weight,
        of=of,
        projector=Linear(),
    )
