"""The same losses in torchdistill, on the same features.

Its losses read features out of dictionaries, by module and by input or output. Its projector is a
1x1 convolution with the weights of our linear projector, and is there where ours is. Its losses
have no inverted direction, so that ours is compared in the direction that theirs has.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyteacher.connection import Connection, Source
from anyteacher.losses import ICKD, KD, Direction
from benchmarks.links import LinkAlone

MISSING = (
    "torchdistill is not installed, so that nothing was compared with it. Install it with: "
    "pip install -e '.[bench]'"
)
_LARGEST = 2**28  # bytes of one tensor; a comparison that needs larger ones is left out
_OUT = {"io": "output", "path": "x"}


@dataclass
class Rival:
    """What torchdistill computes, and how it relates to ours.

    Attributes:
        direction: The direction of ours that does the same.
        theirs: Its forward.
        wanted: What its backward gives gradients of.
        ours: Our forward, where it is not just the link's.
        ours_wanted: Likewise.
        as_ours: Our value from theirs; None where the forms differ.
        note: What a reader must know of the comparison.
    """

    direction: Direction
    theirs: Callable[[], Tensor]
    wanted: list[Tensor]
    ours: Callable[[], Tensor] | None = None
    ours_wanted: list[Tensor] | None = None
    as_ours: Callable[[Tensor], Tensor] | None = lambda value: value
    note: str = ""


def installed() -> bool:
    """Whether torchdistill is there."""
    return importlib.util.find_spec("torchdistill") is not None


def rival(name: str, alone: LinkAlone) -> Rival | str:
    """What torchdistill has of a loss; else the reason for what it has not, empty if it has none.

    Where the forms are the same, the values are checked to be.

    Raises:
        ValueError: when they differ.
    """
    if name not in RIVALS:
        return ""
    found = RIVALS[name](alone)
    if isinstance(found, str) or found.as_ours is None:
        return found
    state = {key: value.clone() for key, value in _module(alone, found).state_dict().items()}
    torch.manual_seed(0)
    ours = (found.ours or (lambda: alone.loss(found.direction)))()
    torch.manual_seed(0)
    theirs = found.as_ours(found.theirs())
    _module(alone, found).load_state_dict(state)
    if not torch.allclose(ours, theirs, rtol=1e-3):
        raise ValueError(f"{name}: ours gives {float(ours):g}, torchdistill {float(theirs):g}.")
    return found


def _module(alone: LinkAlone, found: Rival) -> nn.Module:
    return alone.connections[found.direction]


def _losses() -> Any:
    return importlib.import_module("torchdistill.losses.mid_level")


def _form(source: Source) -> Tensor:
    """A feature as torchdistill expects it: a map or a vector."""
    x = source.feature
    if x.ndim != 3:
        return x
    side = source.image_size[0] // 16
    return x[:, 1:].transpose(1, 2).reshape(len(x), -1, side, side)


def _called(loss: nn.Module, student: Any, teacher: Any) -> Tensor:
    value: Tensor = loss({"x": {"output": student}}, {"x": {"output": teacher}})
    return value


def _plain(alone: LinkAlone, loss: nn.Module, **settings: Any) -> Rival:
    """A loss without a projector."""
    student, teacher = alone.student[0], alone.teacher[0]
    return Rival(
        "none",
        lambda: _called(loss, _form(student), _form(teacher)),
        [student.feature],
        **settings,
    )


def _convolution(alone: LinkAlone, level: int = 0) -> nn.Conv2d:
    projector: Any = alone.connections["traditional"].projector
    weight = (projector.levels[level] if hasattr(projector, "levels") else projector).linear.weight
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False).to(weight.device)
    layer.load_state_dict({"weight": weight.detach()[:, :, None, None]})
    return layer


def _projected(
    alone: LinkAlone,
    loss: nn.Module,
    given: Callable[[Tensor], Any] = lambda x: x,
    more: list[Tensor] | None = None,
    **settings: Any,
) -> Rival:
    """A loss after a projection of the student's map."""
    student, teacher = alone.student[0], alone.teacher[0]
    layer = _convolution(alone)
    return Rival(
        "traditional",
        lambda: _called(loss, given(layer(_form(student))), _form(teacher)),
        [student.feature, layer.weight, *(more or [])],
        **settings,
    )


def _wrapped(alone: LinkAlone, loss: nn.Module) -> Rival:
    wrapper = _losses().SimpleLossWrapper(
        loss,
        input={"is_from_teacher": False, "module_path": "x", "io": "output"},
        target={"is_from_teacher": True, "module_path": "x", "io": "output"},
    )
    student, teacher = alone.student[0], alone.teacher[0]
    layer = _convolution(alone)

    def forward() -> Tensor:
        sides = ({"x": {"output": x}} for x in (layer(_form(student)), _form(teacher)))
        value: Tensor = wrapper(*sides, None)
        return value

    return Rival("traditional", forward, [student.feature, layer.weight])


def _at(alone: LinkAlone) -> Rival:
    pairs = {"only": {"student": _OUT, "teacher": _OUT}}
    return _plain(alone, _losses().ATLoss(pairs, mode="code"))


def _ab(alone: LinkAlone) -> Rival:
    pairs = {"only": {"student": _OUT, "teacher": _OUT}}
    return _projected(alone, _losses().AltActTransferLoss(pairs, 1.0, "mean"))


def _hcl(alone: LinkAlone) -> Rival:
    loss = _losses().HierarchicalContextLoss("x", "output", "x", "output")
    return _projected(
        alone,
        loss,
        lambda x: (x, None),
        note="HCL: both sides project by a 1x1 convolution, in place of fusion (ABF).",
    )


def _vid(alone: LinkAlone) -> Rival:
    pairs = {"only": {"student": _OUT, "teacher": _OUT}}
    ours: Any = alone.connections["traditional"].losses[0]
    scale = nn.Parameter(ours.scale.detach().clone())

    def given(mean: Tensor) -> tuple[Tensor, Tensor]:
        variance = torch.log(1.0 + torch.exp(scale)) + ours.eps
        return mean, variance.view(1, -1, 1, 1)

    return _projected(
        alone,
        _losses().VIDLoss(pairs),
        given,
        [scale],
        note="VID: both sides project by one 1x1 convolution; its own regressor has three.",
    )


def _ickd(alone: LinkAlone) -> Rival:
    pairs = {"only": {"student": _OUT, "teacher": _OUT}}
    link = alone.link.filled(loss=ICKD("rows", "images_squared"), direction="traditional")
    ours = Connection(link, alone.student, alone.teacher).to(alone.device)
    ours.load_state_dict(alone.connections["traditional"].state_dict())
    return _projected(
        alone,
        _losses().ChSimLoss(pairs),
        ours=lambda: ours(alone.student, alone.teacher),
        ours_wanted=[alone.student[0].feature, *ours.parameters()],
        note="ICKD: compared in the form of theirs, ICKD('rows', 'images_squared').",
    )


def _fsp(alone: LinkAlone) -> Rival:
    names = ("first", "second")
    taps = {
        f"{side}_{name}": {"io": "output", "path": name}
        for side in ("student", "teacher")
        for name in names
    }
    loss = _losses().FSPLoss({"only": taps})
    layers = [_convolution(alone, level) for level in range(len(names))]

    def forward() -> Tensor:
        students = [
            layer(_form(source)) for layer, source in zip(layers, alone.student, strict=True)
        ]
        teachers = [_form(source) for source in alone.teacher]
        sides = (
            {name: {"output": x} for name, x in zip(names, maps, strict=True)}
            for maps in (students, teachers)
        )
        value: Tensor = loss(*sides)
        return value

    wanted = [*(source.feature for source in alone.student), *(layer.weight for layer in layers)]
    return Rival(
        "traditional",
        forward,
        wanted,
        as_ours=None,
        note="FSP: theirs sums the lengths of columns, ours the squares of entries (the paper).",
    )


def _sp(alone: LinkAlone) -> Rival:
    return _plain(
        alone,
        _losses().SPKDLoss("x", "x", "batchmean"),
        as_ours=None,
        note="SP: theirs divides a row by the sum of its absolute values, ours by its length "
        "(the paper).",
    )


def _pkt(alone: LinkAlone) -> Rival:
    loss = _losses().PKTLoss("x", "output", "x", "output")
    student, teacher = alone.student[0], alone.teacher[0]
    return Rival(
        "none",
        lambda: _called(loss, _form(student).flatten(1), _form(teacher).flatten(1)),
        [student.feature],
    )


def _cc(alone: LinkAlone) -> Rival:
    kernel = {"type": "gaussian", "gamma": 0.4, "max_p": 2}
    loss = _losses().CCKDLoss("x", "x", kernel, "batchmean")
    student, teacher = (
        F.normalize(_form(side[0]).detach().flatten(1)) for side in (alone.student, alone.teacher)
    )
    student.requires_grad_()
    return Rival(
        "none",
        lambda: _called(loss, student, teacher),
        [student],
        as_ours=lambda value: (len(student) * value).square(),
        note="CC: theirs is given features that are at unit length already; ours brings them to it "
        "in the time shown. Theirs is the root of the paper's distance.",
    )


def _rkd(alone: LinkAlone, distance: float, angle: float) -> Rival:
    return _plain(alone, _losses().RKDLoss("x", "x", distance, angle, "mean"))


def _rkd_angle(alone: LinkAlone) -> Rival | str:
    images, *rest = _form(alone.teacher[0]).shape
    size = 4 * images**2 * torch.Size(rest).numel()
    if size > _LARGEST:
        return (
            f"RKDAngle: not run on features so large; the differences between all images are "
            f"{size / 2**30:.1f} GiB in theirs, of the teacher alone."
        )
    return _rkd(alone, 0.0, 1.0)


def _log_sum(alone: LinkAlone) -> Rival | str:
    student, teacher = alone.student[0].feature, alone.teacher[0].feature
    if student.ndim != 2:
        return ""  # theirs compares vectors
    weight: Any = alone.connections["traditional"].projector
    layer = nn.Linear(*weight.linear.weight.T.shape, bias=False).to(student.device)
    layer.load_state_dict(weight.linear.state_dict())
    norm = nn.BatchNorm1d(teacher.shape[1], affine=False).to(student.device)
    logits = [torch.randn(len(student), 1000, device=student.device) for _ in range(2)]
    logits[0].requires_grad_()
    paths = ("x", "output", "x", "output", "logits", "output", "logits", "output")
    loss = _losses().SRDLoss(*paths, exponent=4.0)
    kd = KD(1.0)

    def forward() -> Tensor:
        sides = (
            {"x": {"output": norm(x)}, "logits": {"output": k}}
            for x, k in zip((layer(student), teacher), logits, strict=True)
        )
        value: Tensor = loss(*sides)
        return value

    return Rival(
        "traditional",
        forward,
        [student, logits[0], layer.weight],
        lambda: alone.loss("traditional") + kd(*logits),
        [*alone.wanted("traditional"), logits[0]],
        note="LogSum: theirs contains KD of the logits, which is added to ours here.",
    )


def _crd(alone: LinkAlone) -> Rival:
    ours: Any = alone.connections["none"].losses[0]
    student, teacher = (side[0].feature for side in (alone.student, alone.teacher))
    wrapper: Any = importlib.import_module("torchdistill.models.wrapper")
    embed = []
    for layer in (ours.embed_student, ours.embed_teacher):
        linear = nn.Linear(layer.in_features, layer.out_features).to(student.device)
        linear.load_state_dict(layer.state_dict())
        embed.append(wrapper.Normalizer4CRD(linear))
    loss = _losses().CRDLoss(
        "x", "given", "x", ours.features, ours.samples, ours.negatives, ours.samples
    )
    loss.to(student.device)
    loss.memory_v1.copy_(ours.student_memory)
    loss.memory_v2.copy_(ours.teacher_memory)
    places = alone.given["indices"]

    def forward() -> Tensor:
        noise = torch.randint(ours.samples, (len(student), ours.negatives), device=student.device)
        chosen = torch.cat([places[:, None], noise], 1)
        given = {"pos_idx": places, "contrast_idx": chosen}
        mine, theirs = embed[0](student), embed[1](teacher)
        value: Tensor = loss(
            {"x": {"output": mine}, "given": {"input": given}}, {"x": {"output": theirs}}
        )
        return value.sum()

    wanted = [student, *(p for module in embed for p in module.parameters())]
    return Rival(
        "none",
        forward,
        wanted,
        note="CRD: theirs is given its noise, drawn as ours draws it; its own `draw` fails in "
        "1.1.5.",
    )


def _factor_transfer(alone: LinkAlone) -> Rival:
    wrapper: Any = importlib.import_module("torchdistill.models.wrapper")
    connection = alone.connections["none"]
    ours: Any = connection.losses[0]
    student, teacher = alone.student[0], alone.teacher[0]
    widths = [
        source.feature.shape[-1 if source.feature.ndim == 3 else 1] for source in (student, teacher)
    ]
    paraphraser = wrapper.Paraphraser4FactorTransfer(
        ours.rate, widths[1], uses_bn=False, uses_decoder=False
    ).to(student.feature.device)
    translator = wrapper.Translator4FactorTransfer(
        widths[0], int(ours.rate * widths[1]), uses_bn=False
    ).to(student.feature.device)
    for theirs, mine in ((paraphraser.encoder, ours.encoder), (translator, ours.translator)):
        layers = [layer for layer in theirs if isinstance(layer, nn.Conv2d)]
        for layer, other in zip(layers, mine, strict=True):
            layer.load_state_dict(other.state_dict())
    loss = _losses().FTLoss()

    def forward() -> Tensor:
        with torch.no_grad():
            code = paraphraser(_form(teacher))
        value: Tensor = loss(
            {"translator": {"output": translator(_form(student))}},
            {"paraphraser": {"output": code}},
        )
        return value

    def second_stage() -> Tensor:
        connection.eval()
        value = alone.loss("none")
        connection.train()
        return value

    return Rival(
        "none",
        forward,
        [student.feature, *translator.parameters()],
        second_stage,
        [student.feature, *ours.translator.parameters()],
        note="FactorTransfer: theirs has its second stage only, so that ours is in evaluation "
        "mode, where it does not train the paraphraser either; without batch normalisation.",
    )


def _kd(alone: LinkAlone) -> Rival:
    loss = _losses().KDLoss("x", "output", "x", "output", temperature=4.0, alpha=0.0)
    return _plain(alone, loss, as_ours=lambda value: 16.0 * value)


def _standardized_kd(alone: LinkAlone) -> Rival:
    loss = _losses().LogitStdKDLoss("x", "output", "x", "output", temperature=2.0, alpha=0.0)
    return _plain(alone, loss, as_ours=lambda value: 4.0 * value)


def _dist(alone: LinkAlone) -> Rival:
    return _plain(alone, _losses().DISTLoss("x", "output", "x", "output"))


RIVALS: dict[str, Callable[[LinkAlone], Rival | str]] = {
    "MSE": lambda alone: _wrapped(alone, nn.MSELoss()),
    "SmoothL1": lambda alone: _wrapped(alone, nn.SmoothL1Loss()),
    "LogSum": _log_sum,
    "VID": _vid,
    "AB": _ab,
    "HCL": _hcl,
    "AT": _at,
    "ICKD": _ickd,
    "FSP": _fsp,
    "SP": _sp,
    "PKT": _pkt,
    "CC": _cc,
    "RKDDistance": lambda alone: _rkd(alone, 1.0, 0.0),
    "RKDAngle": _rkd_angle,
    "FactorTransfer": _factor_transfer,
    "CRD": _crd,
    "KD": _kd,
    "StandardizedKD": _standardized_kd,
    "DIST": _dist,
}
