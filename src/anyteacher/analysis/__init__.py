"""What a distilled student's features are like, measured over many images; nothing is drawn here.

>>> found = measure(distiller, batches)  # doctest: +SKIP
>>> found.links[0].directions.dropped.sum()  # doctest: +SKIP
"""

from anyteacher.analysis.alignment import Alignment, on_one_grid
from anyteacher.analysis.components import Components, principal
from anyteacher.analysis.directions import DROPPED, FAINT, Directions, directions_of
from anyteacher.analysis.measure import Analysis, Measured, measure

__all__ = [
    "DROPPED",
    "FAINT",
    "Alignment",
    "Analysis",
    "Components",
    "Directions",
    "Measured",
    "directions_of",
    "measure",
    "on_one_grid",
    "principal",
]
