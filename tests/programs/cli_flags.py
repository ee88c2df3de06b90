"""Flags of short runs on digits by the command."""

import json
from pathlib import Path

CONFIG = f"--config={Path(__file__).parent / 'digits.yaml'}"
LINKS = "--distillation.links"


def link(**settings):
    """A link between the last stages, with further settings, as a flag."""
    return f"{LINKS}={json.dumps([{'student': 'stages.1', 'teacher': 'stages.1', **settings}])}"
