"""`import anyteacher` is cheap: it costs little more than torch, which its users have anyway."""

import subprocess
import sys

HEAVY = [
    "jsonargparse",
    "lightning",
    "PIL",
    "pytorch_lightning",
    "rich",
    "scipy",
    "segmentation_models_pytorch",
    "sklearn",
    "timm",
    "torchmetrics",
    "torchvision",
    "transformers",
]


def fresh(program):
    """What a program prints in a new interpreter."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_core_imports_none_of_the_upper_layers():
    loaded = fresh("import anyteacher, sys; print(*sorted(sys.modules))").split()
    assert "anyteacher" in loaded
    assert set(HEAVY).isdisjoint(loaded)


def test_the_import_takes_a_tenth_of_a_second_over_torch():
    program = (
        "import time, torch; start = time.process_time(); import anyteacher; "
        "print(time.process_time() - start)"
    )
    times = []
    # Processor time, and the least of several: other work on the machine only ever adds to it.
    for _ in range(12):
        times.append(float(fresh(program)))
        if times[-1] < 0.1:
            return
    raise AssertionError(f"import anyteacher took {min(times):.3f} s over import torch")
