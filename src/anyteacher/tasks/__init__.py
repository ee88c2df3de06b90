"""Tasks: how a student's output is trained, measured and shown."""

from anyteacher.tasks.base import Batch, Task
from anyteacher.tasks.classification import Classification
from anyteacher.tasks.depth import Depth
from anyteacher.tasks.multilabel import MultiLabel
from anyteacher.tasks.segmentation import Segmentation

__all__ = ["Batch", "Classification", "Depth", "MultiLabel", "Segmentation", "Task"]
