"""Every configuration that is shipped makes a step, on as little data as there can be."""

from pathlib import Path

import pytest
import yaml

from anyteacher import cli

# For data that are always there; tests/test_recipes.py has those for data sets on disk.
FOLDER = Path(__file__).parents[1] / "configs"
CONFIGS = [
    path for path in sorted(FOLDER.glob("*.yaml")) if path.name.startswith(("rooms", "digits"))
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path, tmp_path, monkeypatch):
    monkeypatch.setenv("ANYTEACHER_CACHE", str(tmp_path / "cache"))
    settings = yaml.safe_load(path.read_text())["data"].get("init_args", {})
    sizes = {name: 16 for name in ("train_size", "val_size", "test_size") if name in settings}
    status = cli.main(
        [
            "fit",
            f"--config={path}",
            f"--output={tmp_path / 'run'}",
            "--trainer.fast_dev_run=2",
            "--trainer.enable_progress_bar=false",
            "--data.batch_size=8",
            *(f"--data.{name}={size}" for name, size in sizes.items()),
        ]
    )
    assert status == 0
