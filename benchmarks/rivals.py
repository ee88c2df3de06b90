"""The losses that torchdistill has too, each made for the same features as ours."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyteacher.connection import Connection
from anyteacher.losses import ICKD, KD
from benchmarks.links import LinkAlone
from benchmarks.rival import PAIRS, Rival, called, convolution, formed, mid_level, plain, projected

MISSING = (
    "torchdistill is not installed, so that nothing was compared with it. Install it with: "
    "pip install -e '.[bench]'"
)
_LARGEST = 2**28  # bytes of one tensor; a comparison that needs larger ones is left out


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
    connection = alone.connections[found.direction]
    state = {key: value.clone() for key, value in connection.state_dict().items()}
    torch.manual_seed(0)
    ours = (found.ours or (lambda: alone.loss(found.direction)))()
    torch.manual_seed(0)
    theirs = found.as_ours(found.theirs())
    connection.load_state_dict(state)
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=0):
        raise ValueError(
            f"{name}: ours gives {ours.item():g} and torchdistill, brought to the same form, "
            f"{theirs.item():g}. They are not the same loss; compare no times."
        )
    return found


def _wrapped(alone: LinkAlone, loss: nn.Module) -> Rival:
    wrapper = mid_level().SimpleLossWrapper(
        loss,
        input={"is_from_teacher": False, "module_path": "x", "io": "output"},
        target={"is_from_teacher": True, "module_path": "x", "io": "output"},
    )
    return projected(alone, wrapper)


def _at(alone: LinkAlone) -> Rival:
    return plain(alone, mid_level().ATLoss(PAIRS, mode="code"))


def _ab(alone: LinkAlone) -> Rival:
    return projected(alone, mid_level().AltActTransferLoss(PAIRS, 1.0, "mean"))


def _hcl(alone: LinkAlone) -> Rival:
    loss = mid_level().HierarchicalContextLoss("x", "output", "x", "output")
    return projected(
        alone,
        loss,
        lambda x: (x, None),
        note="HCL: both sides project by a 1x1 convolution, in place of fusion (ABF).",
    )


def _vid(alone: LinkAlone) -> Rival:
    ours: Any = alone.connections["traditional"].losses[0]
    scale = nn.Parameter(ours.scale.detach().clone())

    def given(mean: Tensor) -> tuple[Tensor, Tensor]:
        variance = torch.log(1.0 + torch.exp(scale)) + ours.eps
        return mean, variance.view(1, -1, 1, 1)

    return projected(
        alone,
        mid_level().VIDLoss(PAIRS),
        given,
        [scale],
        note="VID: both sides project by one 1x1 convolution; its own regressor has three.",
    )


def _ickd(alone: LinkAlone) -> Rival:
    link = alone.link.filled(loss=ICKD("rows", "images_squared"), direction="traditional")
    ours = Connection(link, alone.student, alone.teacher).to(alone.device)
    ours.load_state_dict(alone.connections["traditional"].state_dict())
    return projected(
        alone,
        mid_level().ChSimLoss(PAIRS),
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
    loss = mid_level().FSPLoss({"only": taps})
    layers = [convolution(alone, level) for level in range(len(names))]

    def forward() -> Tensor:
        students = [
            layer(formed(source)) for layer, source in zip(layers, alone.student, strict=True)
        ]
        teachers = [formed(source) for source in alone.teacher]
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
    return plain(
        alone,
        mid_level().SPKDLoss("x", "x", "batchmean"),
        as_ours=None,
        note="SP: theirs divides a row by the sum of its absolute values, ours by its length "
        "(the paper).",
    )


def _pkt(alone: LinkAlone) -> Rival:
    loss = mid_level().PKTLoss("x", "output", "x", "output")
    student, teacher = alone.student[0], alone.teacher[0]
    return Rival(
        "none",
        lambda: called(loss, formed(student).flatten(1), formed(teacher).flatten(1)),
        [student.feature],
    )


def _cc(alone: LinkAlone) -> Rival:
    kernel = {"type": "gaussian", "gamma": 0.4, "max_p": 2}
    loss = mid_level().CCKDLoss("x", "x", kernel, "batchmean")
    student, teacher = (
        F.normalize(formed(side[0]).detach().flatten(1)) for side in (alone.student, alone.teacher)
    )
    student.requires_grad_()
    return Rival(
        "none",
        lambda: called(loss, student, teacher),
        [student],
        as_ours=lambda value: (len(student) * value).square(),
        note="CC: theirs is given features that are at unit length already; ours brings them to it "
        "in the time shown. Theirs is the root of the paper's distance.",
    )


def _rkd(alone: LinkAlone, distance: float, angle: float) -> Rival:
    return plain(alone, mid_level().RKDLoss("x", "x", distance, angle, "mean"))


def _rkd_angle(alone: LinkAlone) -> Rival | str:
    images, *rest = formed(alone.teacher[0]).shape
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
    loss = mid_level().SRDLoss(*paths, exponent=4.0)
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
    loss = mid_level().CRDLoss(
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
    loss = mid_level().FTLoss()

    def forward() -> Tensor:
        with torch.no_grad():
            code = paraphraser(formed(teacher))
        value: Tensor = loss(
            {"translator": {"output": translator(formed(student))}},
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
    loss = mid_level().KDLoss("x", "output", "x", "output", temperature=4.0, alpha=0.0)
    return plain(alone, loss, as_ours=lambda value: 16.0 * value)


def _standardized_kd(alone: LinkAlone) -> Rival:
    loss = mid_level().LogitStdKDLoss("x", "output", "x", "output", temperature=2.0, alpha=0.0)
    return plain(alone, loss, as_ours=lambda value: 4.0 * value)


def _dist(alone: LinkAlone) -> Rival:
    return plain(alone, mid_level().DISTLoss("x", "output", "x", "output"))


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
