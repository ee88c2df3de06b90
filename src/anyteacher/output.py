"""What one step of distillation gives."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from anyteacher.observation import Observation


@dataclass
class Output:
    """What one step of distillation gives.

    Attributes:
        prediction: The student's own output.
        losses: Each link's loss by name, 0-dim and without its weight.
        total: The weighted sum of the links' losses, 0-dim; add it to the task's loss.
        observations: What the features are like, where that was asked for: by link, and by
            `link[0]`, `link[1]`, … for a link over several levels.
    """

    prediction: Any
    losses: dict[str, Tensor] = field(default_factory=dict)
    total: Tensor = field(default_factory=lambda: torch.zeros(()))
    observations: dict[str, Observation] = field(default_factory=dict)


# What walks nested outputs must find the tensors inside: FSDP hooks its backward pass to them.
register_pytree_node(
    Output,
    lambda output: ([output.prediction, output.losses, output.total], output.observations),
    lambda values, observations: Output(*values, observations=observations),  # type: ignore[misc]
    serialized_type_name="anyteacher.Output",
)
