import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from anyteacher.cli import COMMANDS
from anyteacher.demo.outcome import Outcome, Run
from anyteacher.demo.page import table
from anyteacher.demo.plan import Arm, Study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def outcome(record):
    arms = [
        (Arm(a["name"], a["teacher"], a["direction"], a["weight"], a["compare"]), a["runs"])
        for a in record["arms"]
    ]
    study = Study(
        record["study"],
        tuple(arm for arm, _ in arms),
        tuple(record["seeds"]),
        record["steps"],
        record["train_size"],
    )
    runs = {
        arm.name: [Run(r["metrics"], r["curve"], r["seconds"], torch.empty(0)) for r in given]
        for arm, given in arms
    }
    return Outcome(study, runs)


@pytest.mark.parametrize("position", [0, 1])
def test_the_numbers_are_those_of_the_recorded_demo(position):
    record = json.loads((ROOT / "docs" / "demo.json").read_text())
    assert not record["short"]
    for row in table(outcome(record["studies"][position])).texts():
        assert "| " + " | ".join(row[:4]) + " |" in README


def test_the_recorded_demo_ran_what_the_demo_runs():
    from anyteacher.demo.plan import DEPTH, DIGITS

    record = json.loads((ROOT / "docs" / "demo.json").read_text())
    for study, recorded in zip((DEPTH, DIGITS), record["studies"], strict=True):
        made = outcome(recorded).study
        assert made.arms == study.arms
        assert (made.seeds, made.steps, made.train_size) == (
            study.seeds,
            study.steps,
            study.train_size,
        )


def test_the_loop_runs_as_it_stands(tmp_path, monkeypatch):
    class Backbone(nn.Module):
        def __init__(self, width, blocks):
            super().__init__()
            self.stem = nn.Conv2d(3, width, 4, stride=4)
            self.blocks = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(blocks))
            self.layer4 = nn.Conv2d(width, width, 1)
            self.head = nn.Conv2d(width, 1, 1)

        def forward(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            return self.head(self.layer4(x))

    monkeypatch.chdir(tmp_path)
    student, teacher = Backbone(4, 0), Backbone(8, 12)
    images = torch.randn(4, 3, 16, 16)
    loader = [(images, torch.randn(4, 1, 4, 4))] * 2
    before = {name: value.clone() for name, value in student.state_dict().items()}
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {"torch": torch, "student": student, "teacher": teacher, "loader": loader}
    exec(code, names | {"images": images, "task_loss": nn.functional.mse_loss})
    saved = torch.load("student.pt", weights_only=True)
    assert saved.keys() == before.keys()
    assert not torch.equal(saved["layer4.weight"], before["layer4.weight"])


def test_every_command_that_it_names_is_there():
    named = set(re.findall(r"^anyteacher (\w+)|`anyteacher (\w+)", README, re.MULTILINE))
    assert {first or second for first, second in named} <= set(COMMANDS)


def test_every_file_that_it_links_to_is_there():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target.partition("#")[0]).exists(), target
