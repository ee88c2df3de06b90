"""What was measured of a run's features, as charts and pictures."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from anyteacher import pictures
from anyteacher.analysis import DROPPED, FAINT, Analysis, Directions, Measured
from anyteacher.findings.curves import drawn_or_none, thinned
from anyteacher.findings.detail import Detail
from anyteacher.report import (
    BarChart,
    Bars,
    Block,
    LineChart,
    Matrix,
    Pictures,
    Scale,
    Series,
    png,
)

_SHOWN = 32  # bars: more would be too thin on a telephone
_LEAST = 1e-6  # of the energy: what holds less is not drawn
_REACH = 2.5  # standard deviations to the ends of a colour scale
_SIDES = ("teacher", "projected", "student")


def energies(measured: Measured, points: int) -> Block | None:
    """How the energy of each feature is spread over its principal directions."""
    sides = {
        "teacher": measured.teacher,
        "projected": measured.projected,
        "student": measured.student,
    }
    return energy_chart(
        {name: values for name, values in sides.items() if values is not None},
        "Energy by principal direction",
        points,
    )


def energy_chart(
    spectra: dict[str, Tensor], title: str, points: int, note: str = ""
) -> Block | None:
    """Shares of energy over principal directions, a line a name; None where all are constant.

    Args:
        spectra: Energies by name, the largest first.
        title: What the chart shows.
        points: Of a line at most.
        note: For the reader, before what is said of every such chart.
    """
    series = []
    for name, values in spectra.items():
        shares = 100 * values / values.sum()
        kept = [(i, s) for i, s in enumerate(shares.tolist(), 1) if s > 100 * _LEAST]
        if kept:
            places, drawn = zip(*thinned(kept, points), strict=True)
            series.append(Series(name, places, drawn))
    always = (
        "Of the centred feature on the validation images. What holds less than a millionth is left "
        "out: a line that ends early is a feature of fewer directions."
    )
    label = "share of the feature's energy, %"
    told = f"{note} {always}".strip()
    return drawn_or_none(LineChart, title, "principal direction", label, series, True, told)


def directions(measured: Measured) -> Block | None:
    """Which of the teacher's principal directions pass, and which are dropped."""
    found = measured.directions
    if found is None or len(found.teacher) == 0:
        return None
    inverted = measured.direction == "inverted"
    part = "comes from it" if inverted else "lies along it"
    side = "feature" if inverted else "student"
    shown = min(_SHOWN, len(found.teacher))
    return drawn_or_none(
        BarChart,
        "The teacher's principal directions",
        "the teacher's principal direction, the strongest first",
        "share of energy, %",
        [
            Bars("of the teacher", (100 * found.teacher[:shown]).tolist()),
            Bars(f"of the projected {side}: what {part}", (100 * found.projected[:shown]).tolist()),
        ],
        found.dropped[:shown].tolist(),
        "dropped",
        dropped_text(found, measured.rank, inverted=inverted),
    )


def dropped_text(found: Directions, rank: int | None, *, inverted: bool) -> str:
    """How many directions are dropped, what they hold, and what the projector's rank allows.

    Args:
        found: The directions.
        rank: Of the projector's matrix; None where it is not one.
        inverted: Whether the teacher's side is projected.
    """
    count, dropped, faint = len(found.teacher), int(found.dropped.sum()), int(found.faint.sum())
    if inverted:
        read, whole = "can be read back from the projected feature by a linear map", "can"
    else:
        read, whole = "is reproduced by the projected student", "is"
    text = (
        f"{dropped} of {count} directions are dropped, with {percent(found.energy_dropped)} of the "
        f"teacher's energy: less than {100 * DROPPED:.0f} % of their variance {read}. Of the "
        f"teacher's whole energy {percent(found.recovered)} {whole}."
    )
    if faint:
        text += (
            f" {faint} more pass faintly, with less than {100 * FAINT:.0f} % of the mean gain of "
            "energy."
        )
    if rank is not None and rank < count:
        text += f" {_rank_text(rank, count, inverted=inverted)}"
    return text + (f" The first {_SHOWN} are shown." if count > _SHOWN else "")


def _rank_text(rank: int, count: int, *, inverted: bool) -> str:
    """What a matrix of a rank below the number of the teacher's directions can do at most.

    All directions together keep at most the rank, so at most twice as many keep a half or more.
    This holds in a traditional link as well: what is kept of some directions is at most what the
    span of Y holds of their scores, which are orthogonal.
    """
    mixtures = f"{rank} mixture{'s' * (rank != 1)}"
    passes, which, can = f"it passes {mixtures} of the teacher's directions", "these", "read back"
    if not inverted:
        passes = f"it makes the projected student of {mixtures} of the student's directions"
        which, can = "the teacher's", "reproduced"
    text = f"The projector's matrix has rank {rank}: {passes}"
    if 2 * rank < count:
        text += f", and at most {2 * rank} of {which} directions can be {can} by half or more"
    return f"{text}."


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.125)
    '12.5 %'
    """
    return f"{100 * share:.1f} %"


def alignment(analysis: Analysis) -> Block | None:
    """The alignment of every feature of the student with every one of the teachers."""
    if analysis.alignment is None:
        return None
    students, teachers, values = analysis.alignment
    return Matrix(
        students,
        teachers,
        values.tolist(),
        "CKA",
        "Centred kernel alignment (CKA) of the compared features",
        "student \\ teacher",
        "Linear, from 0 to 1, before any projection. Maps are averaged onto the smaller grid of "
        "each pair, beside a vector as a whole. With fewer rows than channels it is too large.",
    )


def components(analysis: Analysis, detail: Detail) -> Block | None:
    """The first principal components on the sample images; None where there are none."""
    taught = any(measured.teacher is not None for measured in analysis.links)
    columns, cells = ["image"], [_samples(analysis.samples, detail.edge)]
    for measured in analysis.links:
        for side in _SIDES:
            if side in measured.pictures:
                name = measured.name if len(analysis.links) > 1 else ""
                columns.append(f"{side} {name}".strip())
                cells.append(component_picture(_bounded(measured.pictures[side], detail.edge)))
    if len(columns) == 1 or detail.samples == 0:
        return None
    rows = [
        (f"{number}", [png(column[number - 1]) for column in cells])
        for number in range(1, min(detail.samples, len(analysis.samples)) + 1)
    ]
    return Pictures(
        columns,
        rows,
        "Principal components on the first validation images",
        "Lightness is the first component and hue the next two, all in units of the first one's "
        "deviation: a grey picture has one component. In print, lightness alone shows the first."
        + (" The signs of the other sides' components follow the teacher's." if taught else ""),
        [Scale("first component, standard deviations", f"−{_REACH}", f"{_REACH}", _lightness())],
    )


def component_picture(
    scores: Float[Tensor, "b 3 h w"],
) -> UInt8[Tensor, "b 3 h w"]:
    """Three components as a colour: the first as lightness, the others as hue and chroma.

    In Oklab, with less chroma towards black and white, where the screen has none.
    """
    bounded = (scores.double() / _REACH).clamp(-1, 1)
    light = 0.575 + 0.365 * bounded[:, :1]
    room = torch.cos(0.5 * math.pi * 0.9 * bounded[:, :1])
    lab = torch.cat([light, 0.13 * room * bounded[:, 1:2], 0.13 * room * bounded[:, 2:]], dim=1)
    colors = pictures.oklab_to_srgb(lab.movedim(1, -1)).clamp(0, 1).movedim(-1, 1)
    return (colors * 255).round().to(torch.uint8)


def _lightness() -> UInt8[Tensor, "256 3"]:
    steps = torch.linspace(-_REACH, _REACH, 256)
    scores = torch.stack([steps, torch.zeros(256), torch.zeros(256)])[None, :, :, None]
    return component_picture(scores)[0, :, :, 0].T.contiguous()


def _samples(images: Float[Tensor, "b c h w"], edge: int) -> UInt8[Tensor, "b 3 h w"]:
    """Images of any normalisation and number of channels, each from its darkest to its brightest.

    Args:
        images: The images.
        edge: Pixels of their longer side at most.
    """
    shown = _bounded(images if images.shape[1] == 3 else images.mean(1, keepdim=True), edge)
    low, high = (end(shown.flatten(1), 1).values for end in (torch.min, torch.max))
    span = (high - low).clamp(min=1e-6)[:, None, None, None]
    return pictures.image((shown - low[:, None, None, None]) / span)


def _bounded(maps: Float[Tensor, "b c h w"], edge: int) -> Float[Tensor, "b c i j"]:
    """Maps of at most so many positions along a side; larger ones are averaged."""
    longer = max(maps.shape[2:])
    if longer <= edge:
        return maps
    size = [max(1, round(side * edge / longer)) for side in maps.shape[2:]]
    return F.interpolate(maps.float(), size, mode="bilinear", antialias=True)
