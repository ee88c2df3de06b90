"""Cross-task knowledge distillation: train a small vision model with any teacher, or with none."""

from anyteacher import losses, methods, projectors, regularizers, spectral, teachers
from anyteacher.decomposition import decompose
from anyteacher.distiller import Distiller
from anyteacher.errors import AnyteacherError
from anyteacher.layout import Layout
from anyteacher.link import Link
from anyteacher.normalization import IMAGENET, ImageNorm
from anyteacher.observation import CollapseGuard
from anyteacher.output import Output
from anyteacher.prefitting import prefit
from anyteacher.student import load_student
from anyteacher.taps import Tap
from anyteacher.teacher import Teacher
from anyteacher.window import Window

__version__ = "0.1.0"

__all__ = [
    "IMAGENET",
    "AnyteacherError",
    "CollapseGuard",
    "Distiller",
    "ImageNorm",
    "Layout",
    "Link",
    "Output",
    "Tap",
    "Teacher",
    "Window",
    "decompose",
    "load_student",
    "losses",
    "methods",
    "prefit",
    "projectors",
    "regularizers",
    "spectral",
    "teachers",
]
