"""The pages of `docs/`: what they tell to do works, and what they list is what there is."""

import inspect
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tables
import torch
import yaml
from torch import nn

import anyteacher as at
from anyteacher import cli, losses, projectors
from anyteacher.hints import known_classes
from anyteacher.methods.about import known
from anyteacher.parsers import make_parser
from anyteacher.tasks import Extractor, Task
from anyteacher.teacher import Teacher
from anyteacher.teachers.kinds import KINDS

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
    follow(page, monkeypatch)
    run = folder / "runs" / page.removesuffix(".md").replace("write-a", "my")
    assert (run / "student.safetensors").exists()


def test_the_page_on_export_works_on_a_run(folder, monkeypatch):
    monkeypatch.setenv("ANYTEACHER_CACHE", str(folder / "cache"))
    sizes = (f"--data.{split}_size=8" for split in ("train", "val", "test"))
    quick = ("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--teacher=null")
    config = f"--config={ROOT / 'configs' / 'rooms-depth.yaml'}"
    assert cli.main(["fit", config, *sizes, *quick, "--distillation.links=[]"]) == 0
    follow("export.md", monkeypatch)


def follow(page: str, monkeypatch) -> None:
    """Does what a page says, block by block."""
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


def test_every_loss_and_projector_is_in_the_tables():
    assert set(tables.LOSSES) == set(known_classes(losses.Loss))
    bases = projectors.Projector, projectors.LevelProjector
    assert set(tables.PROJECTORS) == set(known_classes(*bases))


def test_every_method_is_in_the_table():
    rows = re.findall(r"^\| \[`(\w+)`\]\(api/methods", tables.method_tables(), re.MULTILINE)
    assert sorted(rows) == sorted(known())


def test_every_function_of_a_loss_is_in_the_tables_once():
    public = [getattr(losses, name) for name in losses.__all__]
    named = [function for function, _ in tables.LOSSES.values()]
    assert len(named) == len(set(named))
    assert set(named) == {entry for entry in public if inspect.isfunction(entry)}
    for cls, (function, _) in tables.LOSSES.items():
        assert function.__module__ == cls.__module__


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_is_on_a_page_and_up_to_date(name):
    pages = [page for page in tables.pages() if f"<!-- table: {name} -->" in page.read_text()]
    assert pages
    for page in pages:
        text = page.read_text()
        assert tables.filled(text) == text, "run: python docs/tables.py --write"


def test_a_table_that_was_changed_is_made_anew():
    text = (DOCS / "losses.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| [`SP`]"))
    assert tables.filled(text.replace(row + "\n", "")) == text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AB", "`traditional`, `none` | positions or vectors | equal | equal | – | – | mean"),
        ("CRD", "all | vectors | any | – | `indices` | yes | mean"),
        ("FSP", "all | positions of 2 levels or more | equal | any | – | – | mean"),
        ("SP", "all | positions or vectors | any | any | – | – | per process, or `gather`"),
    ],
)
def test_what_the_table_says_of_some(name, expected):
    assert f"[`{name}`](api/losses.md#anyteacher.losses.{name}) | {expected} |" in (
        tables.loss_needs()
    )


def test_only_what_nobody_claims_has_no_source():
    without = {
        cls.__name__ for cls, (f, _) in tables.LOSSES.items() if tables.source(cls, f) == "–"
    }
    assert without == {"SmoothL1", "Cosine"}
    without = {cls.__name__ for cls in tables.PROJECTORS if tables.source(cls) == "–"}
    assert without == {"Linear", "LowRank", "MLP", "Identity"}


class Loaded(HTMLParser):
    """The addresses that a page makes a browser load, links to other pages left out."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        names = {"href"} if tag == "link" else {"src", "srcset", "data", "poster"}
        self.addresses += [value or "" for name, value in attrs if name in names]


def test_the_site_builds_without_a_warning_and_loads_nothing_from_a_network(tmp_path):
    built = subprocess.run(  # not --quiet: what is not shown does not count as a warning
        [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert {page.name for page in DOCS.glob("*.md")} <= {f"{p.stem}.md" for p in pages}
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        # The pages of the evidence have all in themselves.
        assert loaded.addresses or page.name.endswith("-page.html"), page.name
        assert not [address for address in loaded.addresses if "//" in address], page.name
    for sheet in tmp_path.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


def test_the_table_of_tasks_has_all_with_their_keys_and_metrics():
    page = (DOCS / "tasks.md").read_text()
    rows = {m[1]: m[0] for m in re.finditer(r"^\| `(\w+)` \|.*$", page, re.MULTILINE)}
    tasks = known_classes(Task)
    looks = Extractor(lambda: Teacher(nn.Identity()), "")
    given = {"classes": 7, "back": nn.Identity(), "features": looks}
    assert rows.keys() >= {cls.__name__ for cls in tasks}
    for cls in tasks:
        row = [cell.strip() for cell in rows[cls.__name__].split("|")]
        made = cls(**{k: v for k, v in given.items() if k in inspect.signature(cls).parameters})
        assert row[2].startswith(
            f"(B, {'classes' if made.out_channels == 7 else made.out_channels}"
        )
        assert f"`{made.target}`" in row[3]
        assert row[5].startswith(f"`{made.monitor.removesuffix('/' + looks.name)}`")


def test_the_page_on_tasks_names_all_that_one_of_ones_own_must_have():
    own = (DOCS / "tasks.md").read_text().partition("## A task of your own")[2]
    must = Task.__abstractmethods__ | Task.__annotations__.keys()
    assert [name for name in sorted(must) if not re.search(rf"`{name}[`(]", own)] == []


def test_the_page_on_teachers_lists_all_and_its_blocks_work(folder):
    text = (DOCS / "teachers.md").read_text()
    assert all(f"`{kind.name}`" in text or f"`anyteacher.{kind.name}`" in text for kind in KINDS)
    model, images = nn.Sequential(nn.Conv2d(3, 4, 8, 8)), torch.rand(2, 3, 300, 300)
    distiller = at.Distiller(
        nn.Sequential(nn.Conv2d(3, 4, 8, 8)), model, [at.Link("0", "0")], example=images
    )
    namespace = {"torch": torch, "at": at, "model": model, "images": images}
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        exec(code, {**namespace, "distiller": distiller})
    assert at.teachers.Exported(folder / "teacher.pt2").size == (300, 300)
    (written,) = re.findall(r"^```\n(teacher:\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
    settings = yaml.safe_load(written)
    model = {"class_path": "anyteacher.models.EncoderDecoder", "init_args": {"out_channels": 1}}
    parser, _ = make_parser("fit", "")
    parsed = parser.parse_args(
        [
            "--task=Depth",
            f"--student={json.dumps(model)}",
            "--data=RoomsData",
            f"--teacher={json.dumps(settings['teacher'])}",
            f"--distillation.links={json.dumps(settings['distillation']['links'])}",
        ]
    )
    assert [link.of for link in parsed.distillation.links] == ["tokens", "stages"]
