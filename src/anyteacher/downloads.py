"""Weights that a model fetches by name: which settings name them, and what to do without a network.

Those are words given as `…weights` or `checkpoint_path`, and `pretrained`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from anyteacher.errors import ConfigError


def without_downloads(value: Any) -> Any:
    """Settings of a model, nested, without the names of weights that it would fetch."""
    if isinstance(value, list):
        return [without_downloads(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: _nothing(name) if _fetches(name, inner) else without_downloads(inner)
        for name, inner in value.items()
    }


def not_made(name: str, settings: Any, error: BaseException) -> ConfigError | None:
    """What to raise where a part cannot be made for want of a file or a network.

    Args:
        name: Of the part, such as `student`.
        settings: Its settings, as nested as in a file.
        error: Raised while it was made.

    Returns:
        None where neither is missing.
    """
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, OSError):
        seen = seen.__cause__ or seen.__context__
    if seen is None:
        return None
    reason = next((line.strip() for line in str(seen).splitlines() if line.strip()), "")
    flags = [f"--{name}.{setting}" for setting in _settings_that_fetch(settings)]
    way = "Check the files and addresses that its settings name."
    if flags:
        way = (
            "Fetch its weights once where there is a network, and bring the folder that they are "
            "kept in (HF_HOME, TORCH_HOME), or have it made without: "
            f"{' '.join(flags)}. HF_HUB_OFFLINE=1 in the environment spares the attempts to reach "
            "Hugging Face's hub."
        )
    return ConfigError(
        f"The {name} cannot be made ({type(seen).__name__}: {reason.rstrip('.')}). {way}"
    )


def _settings_that_fetch(value: Any, place: str = "") -> Iterator[str]:
    if not isinstance(value, Mapping):
        return
    for name, inner in value.items():
        inside = place if name == "init_args" else f"{place}{name}."
        if _fetches(name, inner):
            yield f"{place}{name}={json.dumps(_nothing(name))}"
        else:
            yield from _settings_that_fetch(inner, inside)


def _fetches(name: str, value: Any) -> bool:
    if name == "pretrained":
        return bool(value)
    named = name == "checkpoint_path" or name.endswith(("weights", "weights_backbone"))
    return named and isinstance(value, str) and bool(value)


def _nothing(name: str) -> Any:
    """What such a setting is where nothing is fetched."""
    return {"pretrained": False, "checkpoint_path": ""}.get(name)
