"""Makes the tables of the documentation from the code and from the published records.

A page says where a table belongs, and what stands between the two lines is made here:

    <!-- table: losses -->
    <!-- end of table -->

`python docs/tables.py --write` brings every page up to date; without `--write` it names those that
are not. A new table is one function in `TABLES`.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from record_tables import (
    NONE,
    regularisers,
    table,
    verdicts,
    what_is_varied,
    what_methods_do,
    what_teachers_bring,
    what_variants_do,
)
from torch import nn

from anyteacher import losses, projectors
from anyteacher.errors import LayoutError
from anyteacher.losses import DIRECTIONS, BatchLoss, LevelLoss, Loss
from anyteacher.methods.about import About, about, known
from anyteacher.projectors import LevelProjector, Projector

DOCS = Path(__file__).parent
_Made = TypeVar("_Made", bound=nn.Module)

# What the code cannot tell of a loss: the function behind it, and its formula in one line.
# The families stand together, in the order of the page. Bars are written ‖ and ∣: a | ends a cell.
LOSSES: dict[type[Loss], tuple[Callable[..., object], str]] = {
    losses.MSE: (losses.mse, "mean (s − t)²"),
    losses.SmoothL1: (
        losses.smooth_l1,
        "mean h(s − t), h(d) = d² / 2β where ∣d∣ < β, else ∣d∣ − β / 2",
    ),
    losses.Cosine: (losses.cosine, "mean over rows of 1 − cos(s, t)"),
    losses.LogSum: (losses.log_sum, "2 log(Σ ∣ŝ − t̂∣⁴ + ε), each channel standardised"),
    losses.AB: (
        losses.activation_boundary,
        "Σ max(0, m − y s)² / B, y = 1 where t > 0, else −1",
    ),
    losses.OFD: (
        losses.partial_l2,
        "Σ (s − max(t, m))² / B, without s ≤ max(t, m) ≤ 0",
    ),
    losses.MGD: (
        losses.masked_generation,
        "Σ (g(masked s) − t)² / B, g two learned convolutions",
    ),
    losses.VID: (
        losses.variational_information,
        "mean ((s − t)² / v + log v) / 2, v learned for each channel",
    ),
    losses.FactorTransfer: (
        losses.factor_transfer,
        "mean ∣f / ‖f‖ − g / ‖g‖∣, f and g learned factors of s and t",
    ),
    losses.AT: (
        losses.attention_transfer,
        "mean (q_s − q_t)², q = a / ‖a‖, a = mean of x² over channels",
    ),
    losses.CWD: (
        losses.channel_wise,
        "T² / (B C) Σ KL(softmax(t / T) ‖ softmax(s / T)), each channel over its positions",
    ),
    losses.ICKD: (
        losses.inter_channel_correlation,
        "Σ ‖G_s − G_t‖² / (B C), G = X Xᵀ, X (C, H W) with rows of unit length",
    ),
    losses.NST: (
        losses.neuron_selectivity,
        "mean k(s, s′) + mean k(t, t′) − 2 mean k(s, t), k(x, y) = (x · y)² of channels of unit "
        "length",
    ),
    losses.FSP: (
        losses.fsp,
        "Σ ‖G_s − G_t‖² / B, G = F_k F_k₊₁ᵀ / (H W) of successive levels",
    ),
    losses.HCL: (
        losses.hcl,
        "weighted mean of MSE at full size (1), 4 × 4 (1/2), 2 × 2 (1/4), 1 × 1 (1/8)",
    ),
    losses.KDSVD: (
        losses.kd_svd,
        "Σ (R_s − R_t)² / B, R = exp(−(v_i − v′_j)² / β), v and v′ singular vectors of "
        "successive levels",
    ),
    losses.SP: (
        losses.similarity_preserving,
        "‖G_s − G_t‖² / B², G = X Xᵀ with rows of unit length",
    ),
    losses.PKT: (
        losses.pkt,
        "mean p_t log((p_t + ε) / (p_s + ε)), p = (1 + cos(x_i, x_j)) / 2, rows with sum 1",
    ),
    losses.CC: (
        losses.correlation_congruence,
        "‖K_s − K_t‖² / B², K = exp(−γ ‖x_i − x_j‖²) of unit vectors, to second order",
    ),
    losses.RKDDistance: (
        losses.rkd_distance,
        "mean h(d_s / mean d_s − d_t / mean d_t), d = ‖x_i − x_j‖, h smooth L1",
    ),
    losses.RKDAngle: (
        losses.rkd_angle,
        "mean h(c_s − c_t), c the cosines of all triples of images, h smooth L1",
    ),
    losses.CKA: (losses.cka, "1 − ⟨K_s, K_t⟩ / (‖K_s‖ ‖K_t‖), K = X Xᵀ, centred"),
    losses.CRD: (
        losses.nce,
        "−log p₀ / (p₀ + q) − Σ log q / (p_k + q), p = exp(cos / T) / Z of learned embeddings, "
        "from either side",
    ),
    losses.InfoNCE: (
        losses.info_nce,
        "−log exp(c_ii) / Σ_j exp(c_ij), c = cos / T of learned embeddings, from either side",
    ),
    losses.KD: (losses.kd, "T² KL(softmax(t / T) ‖ softmax(s / T))"),
    losses.StandardizedKD: (losses.standardized_kd, "KD of (z − mean z) / std z"),
    losses.DKD: (
        losses.dkd,
        "T² (α KL(target or not) + β KL(among the others))",
    ),
    losses.DIST: (losses.dist, "T² (2 − r_rows − r_columns), r Pearson's correlations"),
}

PROJECTORS: dict[type[Projector | LevelProjector], str] = {
    projectors.Linear: "W x",
    projectors.Orthogonal: "Q x, QᵀQ = 1 where it widens, else QQᵀ = 1",
    projectors.LowRank: "U (V x), r = 2 rows of V",
    projectors.MLP: "W₂ ReLU(W₁ x + b₁) + b₂",
    projectors.Ensemble: "mean of 3 ReLU(W x + b)",
    projectors.Identity: "x",
    projectors.ClosedForm: "Pᵀ x, P = (Z_tᵀ Z_t / n + ε 1)⁻¹ Z_tᵀ Z_s / n",
    projectors.ABF: "each level mixed with the deeper ones by learned attention",
}


def loss_formulas() -> str:
    """A section for each family: what its losses compute, and who published them."""
    parts = []
    for module, group in groupby(LOSSES, lambda cls: cls.__module__):
        family = module.rpartition(".")[2]
        summary = first_paragraph(sys.modules[module])
        rows = [
            (
                reference("losses", cls.__name__),
                reference("losses", LOSSES[cls][0].__name__),
                f"`{LOSSES[cls][1]}`",
                source(cls, LOSSES[cls][0]),
            )
            for cls in group
        ]
        header = ("loss", "function", "formula", "source")
        parts += [f"### {family.capitalize()}", summary, table(header, rows)]
    return "\n\n".join(parts)


def loss_needs() -> str:
    """What each loss needs of a link, and how it behaves under data parallelism."""
    header = (
        "loss",
        "directions",
        "compares",
        "widths",
        "grids",
        "must be told",
        "learns",
        "over processes",
    )
    return table(header, [_needs(cls) for cls in LOSSES])


def _needs(cls: type[Loss]) -> tuple[str, ...]:
    compares = {"any": "positions or vectors", "positions": "positions", "images": "vectors"}
    form = compares[cls.form]
    if issubclass(cls, LevelLoss):
        form += f" of {cls.fewest} levels or more"
    every = set(cls.directions) == set(DIRECTIONS)
    return (
        reference("losses", cls.__name__),
        "all" if every else ", ".join(f"`{direction}`" for direction in cls.directions),
        form,
        "equal" if cls.equal_widths else "any",
        NONE if cls.form == "images" else "equal" if cls.equal_grids else "any",
        ", ".join(f"`{name}`" for name in cls.needs) or NONE,
        "yes" if learns(cls) else NONE,
        "per process, or `gather`" if issubclass(cls, BatchLoss) else "mean",
    )


def learns(cls: type[Loss]) -> bool:
    """Whether a loss has parameters of its own."""
    loss = made(cls)
    if not isinstance(loss, LevelLoss):
        loss.build(4, 4)
    return any(True for _ in loss.parameters())


def projector_table() -> str:
    """What each projector computes, and how large it is."""
    header = ("projector", "formula", "widths", "sees", "parameters, 1024 to 256", "source")
    return table(header, [_projector(cls) for cls in PROJECTORS])


def _projector(cls: type[Projector | LevelProjector]) -> tuple[str, ...]:
    projector, widths = made(cls), "any"
    every = isinstance(projector, LevelProjector)
    try:
        if isinstance(projector, LevelProjector):
            projector.build([1024], [256])
        else:
            projector.build(1024, 256)
    except LayoutError:
        widths = "equal"
    parameters = sum(parameter.numel() for parameter in projector.parameters())
    return (
        reference("projectors", cls.__name__),
        f"`{PROJECTORS[cls]}`",
        widths,
        "all levels" if every else "one level",
        f"{parameters:,}",
        source(cls),
    )


def method_tables() -> str:
    """A section for each family of methods: what each sets, and who published it."""
    parts = []
    every = sorted((about(name) for name in known()), key=lambda method: method.family)
    for family, group in groupby(every, lambda method: method.family):
        summary = first_paragraph(sys.modules[f"anyteacher.methods.{family}"])
        header = (
            "method",
            "source",
            "taps of its authors",
            "loss",
            "projector",
            "directions",
            "weight",
        )
        rows = [_method(method) for method in group]
        parts += [f"### {family.capitalize()}", summary, table(header, rows)]
    return "\n\n".join(parts)


def _method(method: About) -> tuple[str, ...]:
    link = method.links[0]
    losses_used = {
        f"{reference('losses', cls.__name__)} "
        f"([formula](api/losses.md#anyteacher.losses.{LOSSES[cls][0].__name__}))": None
        for cls in (type(each.loss) for each in method.links)
    }
    projector = reference("projectors", type(link.projector).__name__)
    compared = "" if link.compare == "positions" else ", pooled"
    directions = ", ".join(f"`{direction}`" for direction in method.directions)
    return (
        reference("methods", method.name),
        method.source.rstrip("."),
        method.taps.rstrip("."),
        ", ".join(losses_used) + compared,
        NONE if method.directions == ("none",) else projector,
        "all" if set(method.directions) == set(DIRECTIONS) else directions,
        f"{link.weight:g} ({method.weight.partition(', ')[2].rstrip('.')})",
    )


def made(cls: type[_Made]) -> _Made:
    """A component with its defaults; a number that has none is 2."""
    needed = [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return cls(**dict.fromkeys(needed, 2))


def first_paragraph(documented: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def source(*documented: object) -> str:
    """The first full citation among docstrings: authors, title, where and when."""
    for entry in documented:
        text = " ".join((inspect.getdoc(entry) or "").split())
        if found := re.search(r'Source: ([^"]+), "([^"]+)", ([^.;,(]*\d{4}(?: workshop)?)', text):
            authors, title, where = found.groups()
            return f"{authors}, *{title}*, {where}"
    return NONE


def reference(page: str, name: str) -> str:
    """A link to the docstring of what `anyteacher.<page>` exports."""
    return f"[`{name}`](api/{page}.md#anyteacher.{page}.{name})"


TABLES: dict[str, Callable[[], str]] = {
    "losses": loss_formulas,
    "what losses need": loss_needs,
    "projectors": projector_table,
    "methods": method_tables,
    "verdicts": verdicts,
    "teachers": what_teachers_bring,
    "methods by direction": what_methods_do,
    "variants": what_variants_do,
    "what is varied": what_is_varied,
    "regularisers": regularisers,
}

_PLACE = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def filled(text: str) -> str:
    """The text of a page with its tables made anew."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{TABLES[place[2]]()}\n\n{place[3]}", text)


def pages() -> list[Path]:
    """The pages that have a table of the code or of the records."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _PLACE.search(page.read_text())]


def main() -> int:
    """Compares the pages with the code, or writes them; 1 if any differs."""
    parser = argparse.ArgumentParser(description="The tables of the documentation.")
    parser.add_argument("--write", action="store_true", help="bring the pages up to date")
    write = parser.parse_args().write
    old = [page for page in pages() if filled(page.read_text()) != page.read_text()]
    for page in old:
        if write:
            page.write_text(filled(page.read_text()))
        print(f"{page.name}: {'written' if write else 'not what the code says; use --write'}")
    return int(bool(old) and not write)


if __name__ == "__main__":
    raise SystemExit(main())
