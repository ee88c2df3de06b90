"""What a result was measured on."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

import torch


def machine_facts() -> dict[str, str]:
    """The machine, the versions and the date, in words.

    >>> list(machine_facts())[:4]
    ['processor', 'cores', 'memory', 'device']
    """
    return {
        "processor": _processor(),
        "cores": f"{usable_cores()}, of which PyTorch uses {torch.get_num_threads()}",
        "memory": _memory(),
        "device": _device(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "anyteacher": metadata.version("anyteacher"),
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }


def usable_cores() -> int:
    """Processor cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """The model's name where the system tells it, which the standard library does not on Linux."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


def _memory() -> str:
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return "unknown"
    return f"{size / 2**30:.1f} GiB"


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "Apple GPU" if torch.backends.mps.is_available() else "CPU"
