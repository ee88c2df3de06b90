"""How a student is optimised: AdamW, a warm-up, a cosine, clipping."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from anyteacher.errors import ConfigError


@dataclass(frozen=True)
class Optimization:
    """How the student and the projectors are optimised: AdamW, warm-up, then a cosine to zero.

    Args:
        lr: Learning rate after the warm-up.
        weight_decay: Of weights; biases and normalisations have none.
        warmup: Share of all steps over which the learning rate grows from zero; in [0, 1).
        clip: Largest norm of the student's gradient, and of the projectors'; 0 for no limit.
        ema: Decay of an exponential moving average of the student's weights, such as 0.999, with
            which it is validated and saved; 0 for none.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    clip: float = 1.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.lr < math.inf and self.weight_decay >= 0 and self.clip >= 0):
            raise ConfigError(
                f"lr must be positive, weight_decay and clip 0 or more; got {self.lr}, "
                f"{self.weight_decay} and {self.clip}."
            )
        if not (0 <= self.warmup < 1 and 0 <= self.ema < 1):
            raise ConfigError(
                f"warmup and ema are shares in [0, 1); got {self.warmup} and {self.ema}."
            )

    def factor(self, step: int, steps: int) -> float:
        """The learning rate at a step of so many, as a share of `lr`.

        >>> settings = Optimization(warmup=0.25)
        >>> [round(settings.factor(step, 8), 2) for step in range(9)]
        [0.5, 1.0, 1.0, 0.93, 0.75, 0.5, 0.25, 0.07, 0.0]
        """
        warmup = round(self.warmup * steps)
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    def build(
        self, parameters: Mapping[str, nn.Parameter], weights: Collection[str], steps: int
    ) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
        """The optimiser, and the schedule of its learning rate over so many steps.

        Args:
            parameters: What is trained, by name.
            weights: The names of what decays: matrices and kernels, and not biases and the scales
                of normalisations.
            steps: Of the whole training.
        """
        groups = [
            {
                "params": [p for name, p in parameters.items() if (name in weights) == decays],
                "weight_decay": self.weight_decay if decays else 0.0,
            }
            for decays in (True, False)
        ]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.factor(step, steps)
        )
        return optimizer, schedule

    def limit(self, parts: Iterable[nn.Module], whole: Any) -> None:
        """Limits the gradient of each part by its own norm.

        With one norm for all, a projector far from its optimum would shorten the student's steps,
        and the sum over more terms could change the last bits even where a link's weight is 0.

        Args:
            parts: What is trained.
            whole: What holds all of it; under FSDP it knows the norm across processes.
        """
        if not self.clip:
            return
        if hasattr(whole, "clip_grad_norm_"):
            whole.clip_grad_norm_(self.clip)
            return
        for part in parts:
            nn.utils.clip_grad_norm_(list(part.parameters()), self.clip)


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """What of a module is trained, by the names that it has before a wrapper shards it."""
    return {
        name.replace("_fsdp_wrapped_module.", ""): parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
