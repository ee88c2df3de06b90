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
        projector_lr_factor: Factor of the learning rate for projectors, and for what losses learn.
        projector_weight_decay: Theirs; None for the same as the student's.
        warmup: Share of all steps over which the learning rate grows from zero; in [0, 1).
        clip: Largest norm of the student's gradient, and of the projectors'; 0 for no limit.
        ema: Decay of an exponential moving average of the student's weights, such as 0.999, with
            which it is validated and saved; 0 for none.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    projector_lr_factor: float = 1.0
    projector_weight_decay: float | None = None
    warmup: float = 0.05
    clip: float = 1.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.lr < math.inf and self.weight_decay >= 0 and self.clip >= 0):
            raise ConfigError(
                f"lr must be positive, weight_decay and clip 0 or more; got {self.lr}, "
                f"{self.weight_decay} and {self.clip}."
            )
        if not 0 < self.projector_lr_factor < math.inf:
            raise ConfigError(
                "projector_lr_factor multiplies lr for the projectors, and must be positive; got "
                f"{self.projector_lr_factor}."
            )
        decay = self.projector_weight_decay
        if not (decay is None or 0 <= decay < math.inf):
            raise ConfigError(
                "projector_weight_decay must be 0 or more, or null for that of the student; got "
                f"{decay}."
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
        self,
        parameters: Mapping[str, nn.Parameter],
        weights: Collection[str],
        steps: int,
        links: str,
    ) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.LambdaLR]:
        """The optimiser, and the schedule of its learning rate over so many steps.

        Args:
            parameters: What is trained, by name.
            weights: The names of what decays: matrices and kernels, and not biases and the scales
                of normalisations.
            steps: Of the whole training.
            links: What the names of projectors, and of what losses learn, begin with.
        """
        # Grouped by the settings, those that decay first: where projectors have the student's, the
        # groups, and so a checkpoint, are as they would be without.
        groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
        for decays in (True, False):
            for name, parameter in parameters.items():
                if (name in weights) == decays:
                    settings = self._settings(name.startswith(links), decays)
                    groups.setdefault((decays, *settings), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": params, "lr": lr, "weight_decay": decay}
                for (_, lr, decay), params in groups.items()
            ],
            lr=self.lr,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.factor(step, steps)
        )
        return optimizer, schedule

    def _settings(self, is_link: bool, decays: bool) -> tuple[float, float]:
        """Learning rate and weight decay of a parameter."""
        lr, decay = self.lr, self.weight_decay
        if is_link:
            lr *= self.projector_lr_factor
            decay = decay if self.projector_weight_decay is None else self.projector_weight_decay
        return lr, decay if decays else 0.0

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
