"""Methods of distillation by name: functions that return links as their authors would set them.

    links = at.methods.fitnet("layer3", "blocks.7")
    links += at.methods.kd("fc", "head")
    distiller = at.Distiller(student, teacher, links, example=images[:2])

All take the same: `student` and `teacher`, a tap or a list of taps, the shallowest first, for a
link over several levels; `direction`, in which the features are projected; `weight`, of the sum
over the levels beside the task's loss; `of`, the teacher's name where there are several. They set
the projector, the loss, the normalisation, what is compared and the weights of the levels. What
else is to differ is changed in the links, `link.filled(warmup=1000)`, which are plain ones.

The docstring of each says in four lines what its authors did:

- `Source`: where it was published.
- `Taps`: what they tapped.
- `Original`: the direction that is theirs, and what in their set-up has no counterpart here.
- `Weight`: the default and where it is from. "Ours" is a guess to start a search from.

In the other direction the compared side has another width and scale: with a loss that sums over
the elements, weigh again.
"""

from anyteacher.methods.attention import at, cwd, ickd, nst
from anyteacher.methods.information import crd, info_nce, vid
from anyteacher.methods.levels import fsp, kd_svd, reviewkd
from anyteacher.methods.logits import dist, dkd, kd, standardized_kd
from anyteacher.methods.pointwise import (
    ab,
    fitnet,
    ft,
    inverted,
    mgd,
    ofd,
    projector_ensemble,
    simple_recipe,
    vkd,
)
from anyteacher.methods.relational import cc, cka, pkt, rkd, sp

__all__ = [
    "ab",
    "at",
    "cc",
    "cka",
    "crd",
    "cwd",
    "dist",
    "dkd",
    "fitnet",
    "fsp",
    "ft",
    "ickd",
    "info_nce",
    "inverted",
    "kd",
    "kd_svd",
    "mgd",
    "nst",
    "ofd",
    "pkt",
    "projector_ensemble",
    "reviewkd",
    "rkd",
    "simple_recipe",
    "sp",
    "standardized_kd",
    "vid",
    "vkd",
]
