from pathlib import Path

from anyteacher.unfinished import last_checkpoint, way_on


def test_a_run_with_a_checkpoint_goes_on(tmp_path):
    folder = tmp_path / "my run"
    last_checkpoint(folder).mkdir(parents=True)  # a sharded one
    assert way_on(folder) == f"Go on with `anyteacher fit --resume --output '{folder}'`"


def test_a_run_without_one_starts_again():
    command = "`anyteacher fit --config runs/a/config.yaml --output runs/a`"
    said = way_on(Path("runs/a"))
    assert said == f"It stopped before its first checkpoint; start it again with {command}"
