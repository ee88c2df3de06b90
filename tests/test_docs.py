"""The pages of `docs/`: what they tell to do works, and what they list is what there is."""

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from anyteacher import cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GUIDES = ["write-a-loss.md", "write-a-projector.md"]


@dataclass(frozen=True)
class Block:
    """A block of code of a page: its language, the file it is to be saved as, its first line."""

    language: str
    title: str
    line: int
    code: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page in order."""
    text = (DOCS / page).read_text()
    found = re.finditer(
        r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', text, re.DOTALL | re.MULTILINE
    )
    made = [Block(m[1], m[2] or "", text.count("\n", 0, m.start(3)) + 1, m[3]) for m in found]
    assert text.count("```") == 2 * len(made), "a block that the tests do not understand"
    return made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").parent == tmp_path:
            del sys.modules[name]


def run_command(line: str, monkeypatch) -> None:
    """A line of a console."""
    prompt, program, *arguments = line.split()
    assert prompt == "$"
    if program == "anyteacher":
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as done:
            cli.script()
        assert done.value.code == 0, line
        return
    assert program == "python", line
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_followed_to_the_letter_works(page, folder, monkeypatch):
    namespace, printed = {"__name__": "guide"}, ""
    for block in blocks(page):
        where = f"{page}, line {block.line}"
        if block.title:
            assert not Path(block.title).exists(), where
            Path(block.title).write_text(block.code)
        elif block.language == "python":
            assert not printed, f"{where}: the page does not show what was printed before"
            lines = "\n" * (block.line - 1)  # so that a traceback points into the page
            with redirect_stdout(io.StringIO()) as output:
                exec(compile(lines + block.code, DOCS / page, "exec"), namespace)
            printed = output.getvalue()
        elif block.language == "text":
            assert printed == block.code, where
            printed = ""
        else:
            assert block.language == "console", where
            for line in block.code.splitlines():
                run_command(line, monkeypatch)
    assert not printed
    run = folder / "runs" / page.removesuffix(".md").replace("write-a", "my")
    assert (run / "student.safetensors").exists()
