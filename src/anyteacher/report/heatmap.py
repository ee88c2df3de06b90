"""Heat maps over time: a picture of the values on axes, for one or several runs side by side."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from anyteacher import pictures
from anyteacher.errors import ConfigError
from anyteacher.report.axes import LINE, Axis, width_of
from anyteacher.report.blocks import Block, Scale, Table, note, numbers
from anyteacher.report.markup import escape, four, inline

_COLUMNS = 200  # of the picture at most
_UNKNOWN = 255  # the place of grey in the palette, behind the colours of the scale
_DECADES = 1e-4  # what is smaller than this share of the largest value has the last colour


@dataclass(frozen=True)
class Panel:
    """The values of one run: a column for each place, a row for each number of the place.

    A column stands from its place to the next one's. What is not a number is grey.

    Attributes:
        label: Which run.
        x: The places.
        values: A row for each number.
        rows: The numbers where they are not all from 1; a number that is missing looks like the
            nearest one that is there.

    Raises:
        ConfigError: when it is empty, has another number of columns than places or of rows than
            numbers, or these do not rise.
    """

    label: str
    x: Sequence[float]
    values: Float[Tensor, "rows x"]
    rows: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.rows and len(self.rows) != len(self.values):
            raise ConfigError(
                f"The panel {self.label!r} numbers {len(self.rows)} of {len(self.values)} rows. "
                "Give every row one number, or none."
            )
        if self.values.shape[1] != len(self.x) or self.values.numel() == 0:
            raise ConfigError(
                f"The panel {self.label!r} has {len(self.x)} places and values of shape "
                f"{tuple(self.values.shape)}. Give it one column a place, and at least one."
            )
        for what, places in (("places", self.x), ("numbers", self.rows)):
            if any(after <= before for before, after in pairwise(places)):
                raise ConfigError(f"The {what} of the panel {self.label!r} do not rise. Sort them.")

    @property
    def numbers(self) -> Sequence[int]:
        """Of the rows, from above."""
        return self.rows or range(1, len(self.values) + 1)

    @property
    def end(self) -> float:
        """Where the last column ends: as far behind its place as that is behind the one before."""
        step = self.x[-1] - self.x[-2] if len(self.x) > 1 else 1.0
        return self.x[-1] + step


@dataclass(frozen=True)
class HeatMap(Block):
    """Values as colours, dark for small and bright for large ones, in equal ratios.

    Lightness alone tells them apart, so that they read the same in grey and to the colour-blind.
    All panels have one scale, from the smallest positive value, or a ten-thousandth of the largest.

    Attributes:
        title: What the colours show.
        x_label: What the horizontal axis counts, with its unit.
        y_label: What the rows are; they are counted from 1 at the top.
        z_label: What is measured, with its unit.
        panels: One for each run.
        note: What a reader should know to read it, below it.

    Raises:
        ConfigError: when no panel has a positive finite value.
    """

    title: str
    x_label: str
    y_label: str
    z_label: str
    panels: Sequence[Panel]
    note: str = ""

    def __post_init__(self) -> None:
        if not self._largest() > 0:
            raise ConfigError(
                f"The heat map {self.title!r} has no positive value in {len(self.panels)} panels. "
                "Leave it out, and say in the text what happened."
            )

    def _largest(self) -> float:
        known = [panel.values[panel.values.isfinite()] for panel in self.panels]
        return max((float(values.max()) for values in known if len(values)), default=0.0)

    def _smallest(self) -> float:
        """The value of the first colour; what is below it has that colour too."""
        largest = self._largest()
        known = [
            panel.values[(panel.values > 0) & panel.values.isfinite()] for panel in self.panels
        ]
        smallest = min(float(values.min()) for values in known if len(values))
        return min(max(smallest, _DECADES * largest), largest / 2)

    def html(self) -> str:
        """A figure: one panel at full width, or several beside each other, and the scale."""
        largest = self._largest()
        if len(self.panels) == 1:
            (panel,) = self.panels
            drawn = self.svg(panel, 760, kind="wide") + self.svg(panel, 380, kind="narrow")
        else:
            parts = "".join(
                f'<div><p class="note">{inline(panel.label)}</p>{self.svg(panel, 380)}</div>'
                for panel in self.panels
            )
            drawn = f'<div class="panels">{parts}</div>'
        smallest = self._smallest()
        below = any(bool((panel.values < smallest).any()) for panel in self.panels)
        low = f"{smallest:.3g}{' or less' if below else ''}"
        scale = Scale(self.z_label, low, f"{largest:.3g}", pictures.scale_table("error"))
        return (
            f'<figure class="block"><figcaption>{inline(self.title)}</figcaption>{drawn}'
            f'<div class="scales">{scale.html()}</div>{note(self.note)}'
            f"{numbers(self._table())}</figure>"
        )

    def svg(self, panel: Panel, width: float, *, kind: str = "") -> str:
        """One panel alone.

        Args:
            panel: Which.
            width: Its width; text has the same size at any width.
            kind: A class for the style sheet.
        """
        rows = panel.numbers[-1]
        height = max(0.3 * width, 200.0)
        top, bottom = 1.4 * LINE, height - 44
        y_axis = Axis(panel.numbers[0] - 0.5, rows + 0.5, top, bottom)
        y_ticks = y_axis.counted(max(2, round(height / 60)))
        left = 16 + max(width_of(text) for _, text in y_ticks)
        x_axis = Axis(panel.x[0], panel.end, left, width - 10)
        parts = [f'<text class="quiet" x="0" y="12">{escape(self.y_label)}</text>']
        picture = base64.b64encode(self._picture(panel)).decode()
        parts.append(
            f'<image class="cells" x="{left:.1f}" y="{top:.1f}" width="{width - 10 - left:.1f}" '
            f'height="{bottom - top:.1f}" preserveAspectRatio="none" '
            f'href="data:image/png;base64,{picture}" />'
        )
        for value, text in y_ticks:
            y = y_axis(value)
            parts.append(f'<path class="tick" d="M{left - 5:.1f} {y:.1f}h5" />')
            parts.append(
                f'<text class="quiet end" x="{left - 8:.1f}" y="{y + 4:.1f}">{text}</text>'
            )
        whole = all(float(x).is_integer() for x in panel.x)
        for value, text in x_axis.ticks(max(2, round(width / 120)), whole):
            x = x_axis(value)
            parts.append(f'<path class="tick" d="M{x:.1f} {bottom:.1f}v5" />')
            parts.append(
                f'<text class="mid" x="{x:.1f}" y="{bottom + 20:.1f}">{escape(text)}</text>'
            )
        middle = (left + width - 10) / 2
        parts.append(
            f'<text class="quiet mid" x="{middle:.1f}" y="{height - 5:.1f}">'
            f"{escape(self.x_label)}</text>"
        )
        spoken = (
            f"{self.title}, {panel.label}. {self.z_label} of {len(panel.values)} rows "
            f"({self.y_label}) over {self.x_label}. The first ends at "
            f"{four(float(panel.values[0, -1]))}, the last at {four(float(panel.values[-1, -1]))}."
        )
        return (
            f'<svg class="chart {kind}" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f'aria-label="{escape(spoken)}">{"".join(parts)}</svg>'
        )

    def _picture(self, panel: Panel) -> bytes:
        """A pixel for each row and stretch of the axis, coloured by the column that covers it.

        As PNG data with a palette, a third of the size of one without.
        """
        first, span = panel.x[0], panel.end - panel.x[0]
        places = torch.tensor([(x - first) / span for x in panel.x], dtype=torch.float64)
        # Evenly spaced columns are a pixel wide; others get as many as their stretch needs.
        even = torch.allclose(places, torch.arange(len(places)).double() / len(places), atol=1e-6)
        count = len(places) if even and len(places) <= _COLUMNS else _COLUMNS
        middles = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        columns = panel.values[:, torch.searchsorted(places, middles, right=True) - 1]
        numbers = torch.tensor(list(panel.numbers)).double()
        shown = torch.arange(panel.numbers[0], panel.numbers[-1] + 1).double()
        columns = columns[torch.searchsorted((numbers[1:] + numbers[:-1]) / 2, shown)]
        largest, smallest = self._largest(), self._smallest()
        ratios = (columns.double() / largest).clamp(min=smallest / largest)
        on_scale = 1 - ratios.log() / math.log(smallest / largest)
        steps = torch.where(columns.isfinite(), (on_scale * _UNKNOWN).floor(), _UNKNOWN)
        steps = torch.where(columns.isfinite(), steps.clamp(0, _UNKNOWN - 1), steps)
        picture = Image.fromarray(steps.to(torch.uint8).numpy())
        picture.putpalette([*_colors().flatten().tolist(), 128, 128, 128])
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    def _table(self) -> Table:
        heads = [
            f"{panel.label}, {self.x_label} {place:.6g}"
            for panel in self.panels
            for place in (panel.x[0], panel.x[-1])
        ]
        ends = [
            dict(zip(panel.numbers, panel.values[:, end].tolist(), strict=True))
            for panel in self.panels
            for end in (0, -1)
        ]
        rows = [
            [str(number), *(four(column[number]) if number in column else "" for column in ends)]
            for number in sorted({number for panel in self.panels for number in panel.numbers})
        ]
        return Table([self.y_label, *heads], rows)


def _colors() -> Tensor:
    """The colours of the scale but one, which grey takes: 255 of them, dark to bright."""
    places = torch.linspace(0, 255, _UNKNOWN).round().long()
    return pictures.scale_table("error")[places]
