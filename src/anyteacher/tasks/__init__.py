"""Tasks: how a student's output is trained, measured and shown."""

from anyteacher.tasks.adversary import Adversarial
from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.classification import Classification
from anyteacher.tasks.cyclegan import CycleGAN
from anyteacher.tasks.depth import Depth
from anyteacher.tasks.edges import Edges
from anyteacher.tasks.extractor import Extractor
from anyteacher.tasks.multilabel import MultiLabel
from anyteacher.tasks.normals import Normals
from anyteacher.tasks.segmentation import Segmentation
from anyteacher.tasks.translation import Translation

__all__ = [
    "Adversarial",
    "Batch",
    "Classification",
    "CycleGAN",
    "Depth",
    "Edges",
    "Extractor",
    "MultiLabel",
    "Normals",
    "Segmentation",
    "Task",
    "Translation",
]
