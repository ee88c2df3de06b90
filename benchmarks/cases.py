"""The losses that are timed, each on the features that it is made for."""

from collections.abc import Callable
from dataclasses import dataclass

from anyteacher import Link, losses
from anyteacher.losses import LevelLoss, Loss
from benchmarks.links import Shape

SHAPES = {
    "map": Shape("map", 64, 256, 14),
    "tokens": Shape("tokens", 64, 192, 197),
    "vector": Shape("vector", 64, 256),
    "logits": Shape("vector", 64, 1000, times=1),
}
PLACES = ("map", "tokens")
SAMPLES = 2**16  # of the training set that CRD remembers


@dataclass(frozen=True)
class Case:
    """A loss and its features.

    Attributes:
        make: The loss, with its defaults or its authors' settings.
        features: Keys of `SHAPES`.
    """

    make: Callable[[], Loss]
    features: tuple[str, ...] = PLACES

    @property
    def link(self) -> Link:
        """The link that compares with it; of two levels where it relates levels."""
        loss = self.make()
        taps: list[str] = ["first", "second"] if isinstance(loss, LevelLoss) else ["only"]
        compare = "pooled" if loss.form == "images" else "positions"
        return Link([*taps], [*taps], loss=loss, compare=compare)


RELATIONAL = (*PLACES, "vector")

CASES: dict[str, Case] = {
    "MSE": Case(losses.MSE),
    "SmoothL1": Case(losses.SmoothL1),
    "Cosine": Case(losses.Cosine),
    "LogSum": Case(losses.LogSum, RELATIONAL),
    "VID": Case(losses.VID),
    "AB": Case(losses.AB),
    "OFD": Case(losses.OFD),
    "HCL": Case(losses.HCL),
    "AT": Case(losses.AT),
    "CWD": Case(losses.CWD),
    "ICKD": Case(losses.ICKD),
    "NST": Case(losses.NST),
    "FSP": Case(losses.FSP),
    "KDSVD": Case(losses.KDSVD),
    "SP": Case(losses.SP, RELATIONAL),
    "PKT": Case(losses.PKT, RELATIONAL),
    "CC": Case(losses.CC, RELATIONAL),
    "CKA": Case(losses.CKA, RELATIONAL),
    "RKDDistance": Case(losses.RKDDistance, RELATIONAL),
    "RKDAngle": Case(losses.RKDAngle, RELATIONAL),
    "MGD": Case(losses.MGD),
    "FactorTransfer": Case(losses.FactorTransfer),
    "InfoNCE": Case(losses.InfoNCE, ("vector",)),
    "CRD": Case(lambda: losses.CRD(SAMPLES), ("vector",)),
    "KD": Case(losses.KD, ("logits",)),
    "StandardizedKD": Case(losses.StandardizedKD, ("logits",)),
    "DKD": Case(losses.DKD, ("logits",)),
    "DIST": Case(losses.DIST, ("logits",)),
}
