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
    found = re.finditer(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    made = [Block(m[1], m[2] or "", text.count("\n", 0, m.start(3)) + 1, m[3]) for m in found]
    assert text.count("```") == 2 * len(made), "a block that the tests do not understand"
    return made


def run_command(line: str, folder: Path) -> None:
    """A line of a console, in a process of its own, with the interpreter of the tests."""
    assert line.startswith("$ "), line
    program, *arguments = line[2:].split()
    start = {"anyteacher": ["-c", "from anyteacher.cli import script; script()"], "python": []}
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, *start[program], *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_followed_to_the_letter_works(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    namespace, printed, commands = {"__name__": "guide"}, "", 0
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
                run_command(line, tmp_path)
                commands += 1
    assert not printed
    assert commands == 3
    assert (tmp_path / "runs" / Path(page).stem.replace("write-a", "my") / "student.safetensors").exists()
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]
