"""Teachers by name, from files, and from no training at all."""

from anyteacher.teachers.files import Exported, TorchScript
from anyteacher.teachers.named import PRETRAINED, RANDOM
from anyteacher.teachers.smp import SegmentationModels
from anyteacher.teachers.timm import Timm
from anyteacher.teachers.torchvision import Torchvision
from anyteacher.teachers.transformers import Transformers
from anyteacher.teachers.untrained import Random

__all__ = [
    "PRETRAINED",
    "RANDOM",
    "Exported",
    "Random",
    "SegmentationModels",
    "Timm",
    "TorchScript",
    "Torchvision",
    "Transformers",
]
