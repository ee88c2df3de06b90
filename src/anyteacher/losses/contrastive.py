"""Contrastive losses: each image's features agree with one another, and not with other images'."""

import math
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from anyteacher.errors import ConfigError, LayoutError
from anyteacher.losses.base import (
    BatchLoss,
    FeatureLoss,
    Form,
    Given,
    Images,
    Scalar,
    chosen,
    comparable,
    full_precision,
    whole,
)
from anyteacher.losses.gram import check_images
from anyteacher.normalization import unit_length
from anyteacher.parallel import gather

Anchor = Literal["both", "student"]
_ANCHORS: tuple[Anchor, ...] = get_args(Anchor)


@full_precision
def info_nce(
    student: Float[Tensor, "b c"],
    teacher: Float[Tensor, "b c"],
    *,
    temperature: float = 0.07,
    anchor: Anchor = "both",
) -> Float[Tensor, ""]:
    """`-log(exp(s_i.t_i / T) / sum_j exp(s_i.t_j / T))`, mean over images, of unit-length rows.

    Source: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive
    Coding", 2018; with both anchors Radford et al., "Learning Transferable Visual Models From
    Natural Language Supervision", ICML 2021.

    Args:
        student: A vector an image.
        teacher: Likewise, of the same width.
        temperature: Divides the cosine similarities.
        anchor: `student` tells the student's vector its teacher's among those of all images;
            `both` is the mean of that and of the same with the sides exchanged.

    Raises:
        LayoutError: for a single image, which has no other to be told from.
        ConfigError: for an unknown anchor.
    """
    chosen("info_nce", "anchor", anchor, _ANCHORS)
    student, teacher = comparable("info_nce", student, teacher)
    check_images("info_nce", len(student), 2)
    scores = unit_length(student, 1) @ unit_length(teacher, 1).T / temperature
    own = scores.diagonal()
    loss = (scores.logsumexp(1) - own).mean()
    if anchor == "both":
        loss = (loss + (scores.logsumexp(0) - own).mean()) / 2
    return loss


def nce(
    scores: Float[Tensor, "b n"], log_z: Float[Tensor, ""], *, samples: int
) -> Float[Tensor, ""]:
    """Noise-contrastive estimation: the own image's score in column 0, k noise samples' beside it.

    With `p = exp(score) / Z` the estimated probability of an image and `q = k / N` the expected
    number of times that the noise draws it, `-log(p_0 / (p_0 + q)) - sum_k log(q / (p_k + q))`,
    mean over the rows.

    Source: Gutmann and Hyvärinen, "Noise-contrastive Estimation", AISTATS 2010; as used by Tian,
    Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020.

    Args:
        scores: Similarities divided by the temperature.
        log_z: The logarithm of Z.
        samples: N, from how many images the noise is drawn uniformly.
    """
    negatives = scores.shape[1] - 1
    # log(p / q): both terms are log-sigmoids of it, which need no eps and do not overflow.
    ratio = scores - log_z - math.log(negatives / samples)
    return -(F.logsigmoid(ratio[:, 0]) + F.logsigmoid(-ratio[:, 1:]).sum(1)).mean()


class InfoNCE(BatchLoss):
    """Each image's student vector picks out its teacher vector among the batch's, and vice versa.

    For large training sets, where a memory bank as of `CRD` is too much; large batches help.

    Args:
        features: Width of the embeddings, one learned linear map a side; 0 compares the features
            as they are.
        temperature: Divides the cosine similarities; positive.
        anchor: See `info_nce`.
        gather: See `BatchLoss`; the images of all processes are then told from one another.
    """

    form: ClassVar[Form] = "images"
    equal_widths: ClassVar[bool] = False
    because: ClassVar[str] = "it tells an image from the others of the batch"

    def __init__(
        self,
        features: int = 128,
        temperature: float = 0.07,
        anchor: Anchor = "both",
        gather: bool = False,
    ) -> None:
        super().__init__(gather)
        if not (whole(features, 0) and 0 < temperature < math.inf):
            raise ConfigError(
                "InfoNCE needs features of 0 or more, a whole number, and a positive temperature, "
                f"got {features} and {temperature}."
            )
        self.features, self.temperature = features, temperature
        self.anchor = chosen("InfoNCE", "anchor", anchor, _ANCHORS)

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Makes the embeddings.

        Raises:
            LayoutError: for unequal widths and no embeddings.
        """
        if self.features:
            self.embed_student = nn.Linear(student_width, self.features)
            self.embed_teacher = nn.Linear(teacher_width, self.features)
        elif student_width != teacher_width:
            raise LayoutError(
                f"InfoNCE(features=0) compares features of one width, got {student_width} from the "
                f"student and {teacher_width} from the teacher. Let it learn embeddings "
                "(features=128), or project one side."
            )

    def compare(self, student: Images, teacher: Images) -> Scalar:
        """See `info_nce`."""
        student, teacher = _vectors("InfoNCE", student, teacher)
        if self.features:
            student = _embedded(student, self.embed_student)
            teacher = _embedded(teacher, self.embed_teacher)
        return info_nce(student, teacher, temperature=self.temperature, anchor=self.anchor)


class CRD(FeatureLoss):
    """Contrastive representation distillation, with a memory of every training image.

    Each side's vector is embedded, by a learned linear map to unit length, and told from images
    drawn at random: `nce` of its similarities to the other side's remembered embeddings, the
    image's own and those of `negatives` others, summed over the two sides. The memory of the
    batch's images then moves to `momentum` times the old plus the rest times the new, brought to
    unit length. Z is the mean of the first batch's exponentials times `samples`, for good.

    The memory is part of the training state, 2 x samples x features numbers, and of no student.
    Every training step reads and copies all of it, and holds both copies until its backward pass:
    for the 1.28 million images of ImageNet and 128 features, 1.3 GB in single precision each.
    Under data parallelism all processes keep the same one: each learns what the others have seen.
    DDP also sends all buffers in every step unless told not to (`broadcast_buffers=False`, in newer
    torch `forward_sync_buffers=False`); with a large memory, tell it.

    Source: Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR 2020. Its
    authors use a weight of 0.8. Their code draws the negatives from other classes, where there are
    classes; here they are drawn uniformly, as in the paper's unsupervised form.

    Args:
        samples: Number of training images; each needs its index.
        features: Width of the embeddings.
        negatives: Noise samples for each image.
        temperature: Divides the cosine similarities; positive.
        momentum: Share of the old in the memory; from 0 up to 1.
    """

    form: ClassVar[Form] = "images"
    equal_widths: ClassVar[bool] = False
    needs: ClassVar[tuple[Given, ...]] = ("indices",)
    because: ClassVar[str] = "it remembers one vector of each image of the training set"

    student_memory: Tensor
    teacher_memory: Tensor
    log_z: Tensor

    def __init__(
        self,
        samples: int,
        features: int = 128,
        *,
        negatives: int = 16384,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        if not all(whole(number, 1) for number in (samples, features, negatives)):
            raise ConfigError(
                "CRD needs whole numbers of samples, features and negatives of at least 1, got "
                f"{samples}, {features} and {negatives}."
            )
        if not (0 < temperature < math.inf and 0 <= momentum < 1):
            raise ConfigError(
                "CRD needs a positive temperature and a momentum from 0 up to 1, got "
                f"{temperature} and {momentum}."
            )
        self.samples, self.features, self.negatives = samples, features, negatives
        self.temperature, self.momentum = temperature, momentum

    def build(
        self, student_width: int, teacher_width: int, teacher: nn.Module | None = None
    ) -> None:
        """Makes the embeddings and a random memory."""
        self.embed_student = nn.Linear(student_width, self.features)
        self.embed_teacher = nn.Linear(teacher_width, self.features)
        bound = math.sqrt(3 / self.features)  # rows of unit length on the average
        for name in ("student_memory", "teacher_memory"):
            memory = torch.empty(self.samples, self.features).uniform_(-bound, bound)
            self.register_buffer(name, memory)
        self.register_buffer("log_z", torch.zeros(2))  # of each side; 0 until it is known

    def forward(  # type: ignore[override]  # the link gives what `needs` names
        self, student: Images, teacher: Images, indices: Tensor
    ) -> Scalar:
        """The loss of a batch; in training mode, the memory takes the batch in."""
        student, teacher = _vectors("CRD", student, teacher)
        indices = self._checked(indices, student)
        mine = unit_length(_embedded(student, self.embed_student), 1)
        theirs = unit_length(_embedded(teacher, self.embed_teacher), 1)
        noise = torch.randint(self.samples, (len(mine), self.negatives), device=mine.device)
        drawn = torch.cat([indices[:, None], noise], 1)
        scores = [
            _similarities(mine, self.teacher_memory, drawn) / self.temperature,
            _similarities(theirs, self.student_memory, drawn) / self.temperature,
        ]
        log_z = self._after(indices, mine, theirs, scores)
        losses = [nce(x, z, samples=self.samples) for x, z in zip(scores, log_z, strict=True)]
        return losses[0] + losses[1]

    def _checked(self, indices: Tensor, student: Tensor) -> Tensor:
        if indices.shape != student.shape[:1]:
            raise LayoutError(
                f"CRD needs one index an image, got indices of shape {tuple(indices.shape)} for "
                f"{len(student)} images."
            )
        if not torch.compiler.is_compiling():  # a graph cannot look at values
            low, high = (int(end) for end in indices.aminmax())
            if low < 0 or high >= self.samples:
                raise ConfigError(
                    f"CRD(samples={self.samples}) remembers images 0 to {self.samples - 1} and was "
                    f"given indices from {low} to {high}. Set samples to the size of the training "
                    "set, and give each image's place in it."
                )
        return indices.long()

    @torch.no_grad()
    def _after(self, indices: Tensor, mine: Tensor, theirs: Tensor, scores: list[Tensor]) -> Tensor:
        """Log Z of both sides; in training mode the memory takes the batch in."""
        means = torch.stack([x.logsumexp(1) - math.log(x.shape[1]) for x in scores], 1)
        if self.training:
            # One message: every process must end with the same memory and the same Z.
            rows = gather(torch.cat([mine, theirs, means], 1))
            ends = self.features, 2 * self.features
            mine, theirs, means = rows.tensor_split(ends, 1)
            indices = gather(indices)
        found = means.logsumexp(0) + math.log(self.samples / len(means))
        log_z = torch.where(self.log_z == 0, found.to(self.log_z.dtype), self.log_z)
        if self.training:
            # Bound anew, not changed in place: the backward pass needs the memory as it was.
            self.log_z = log_z
            self.student_memory = self._moved(self.student_memory, indices, mine)
            self.teacher_memory = self._moved(self.teacher_memory, indices, theirs)
        return log_z

    def _moved(self, memory: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
        # Of an image that is there twice the last row counts, on every device and process alike.
        places = torch.arange(len(indices), device=indices.device)
        last = places.new_zeros(len(memory)).scatter_reduce(0, indices, places, "amax")[indices]
        old = memory[indices].to(rows.dtype)
        new = unit_length(self.momentum * old + (1 - self.momentum) * rows[last], 1)
        return memory.index_copy(0, indices, new.to(memory.dtype))


def _vectors(name: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    student, teacher = comparable(name, student, teacher, widths=False, grids=False)
    if student.ndim != 2 or teacher.ndim != 2:
        raise LayoutError(
            f"{name} compares one vector an image (B, C), got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}. Use compare='pooled' in the link."
        )
    return student, teacher


@full_precision
def _embedded(x: Float[Tensor, "b c"], layer: nn.Linear) -> Float[Tensor, "b d"]:
    dtype = torch.promote_types(x.dtype, layer.weight.dtype)
    return F.linear(x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))


@full_precision
def _similarities(
    x: Float[Tensor, "b d"], memory: Float[Tensor, "n d"], drawn: Int[Tensor, "b k"]
) -> Float[Tensor, "b k"]:
    # B x N numbers and one product, where the drawn rows would be B x K x D: with the usual K and
    # D this is less for training sets of up to two million images.
    return (x @ memory.to(x.dtype).T).gather(1, drawn)
