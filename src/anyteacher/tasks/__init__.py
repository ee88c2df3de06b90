"""Tasks: how a student's output is trained, measured and shown."""

from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.classification import Classification
from anyteacher.tasks.depth import Depth
from anyteacher.tasks.edges import Edges
from anyteacher.tasks.multilabel import MultiLabel
from anyteacher.tasks.normals import Normals
from anyteacher.tasks.segmentation import Segmentation
from anyteacher.tasks.translation import Translation

__all__ = [
    "Batch",
    "Classification",
    "Depth",
    "Edges",
    "MultiLabel",
    "Normals",
    "Segmentation",
    "Task",
    "Translation",
]
