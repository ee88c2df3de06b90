"""The command as a person uses it: what it says, and its exit status."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import runs
import yaml
from PIL import Image

from anyteacher import __version__, cli
from anyteacher.experiment import STUDENT
from anyteacher.images import read_image
from anyteacher.logs import read_curves
from anyteacher.results import read_result

CONFIG = f"--config={Path(__file__).parent / 'programs' / 'digits.yaml'}"
LINKS = "--distillation.links"
RANK_300 = {"class_path": "TrailingEnergy", "init_args": {"rank": 300}}


@pytest.fixture
def call(capsys):
    """Runs the command; gives its status, and what it printed to either side."""

    def run(*arguments):
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    assert cli.main(["fit", CONFIG, f"--output={folder}"]) == 0
    return folder


def link(**settings):
    return f"{LINKS}={json.dumps([{'student': 'stages.1', 'teacher': 'stages.1', **settings}])}"


# What is wrong, and what the one line must say: the problem, what was given, what to do.
WRONG = {
    "flag": (["--optimisation.lr=1"], ["no setting 'optimisation.lr'", "mean optimization.lr"]),
    "trainer": (["--trainer.max_epoch=1"], ["'trainer.max_epoch'", "trainer.max_epochs"]),
    "type": (["--optimization.lr=fast"], ["optimization.lr", "'fast' is no float"]),
    "nested type": (["--task.classes=ten"], ["task.classes", "'ten' is no int"]),
    "or null": (["--trainer.max_epochs=a"], ["trainer.max_epochs", "'a' is no int"]),
    "value": (["--optimization.lr=-1"], ["lr must be positive", "-1.0"]),
    "value in a class": (["--data.train_size=0"], ["1 to 1197", "got 0"]),
    "direction": (["--distillation.direction=inverse"], ["'inverse'", "mean inverted"]),
    "task": (["--task=Classificaton"], ["'Classificaton'", "mean Classification"]),
    "option": (["--task.classess=3"], ["takes no 'classess'", "mean classes"]),
    "data": (["--data=DigitData"], ["'DigitData'", "mean DigitsData"]),
    "teacher": (["--teacher=Randm"], ["'Randm'", "mean Random"]),
    "student": (["--student=Net"], ["'Net'", "anyteacher.models.ConvNet", "import path"]),
    "student's path": (["--student=anyteacher.models.ConvNett"], ["mean ConvNet?"]),
    "student's module": (["--student=nowhere.Net"], ["'nowhere.Net'", "cannot be imported"]),
    "student's channels": (["--student.classes=3"], ["(batch, 10)", "Give the student 10"]),
    "no teacher": (["--teacher=null"], ["links to a teacher (1)", "Give one as `teacher`"]),
    "loss": ([link(loss="MSEE")], ["links.loss", "'MSEE'", "mean MSE"]),
    "link's key": ([link(los="MSE")], ["takes no 'los'", "mean loss"]),
    "link's direction": ([link(direction="invert")], ["'invert'", "mean inverted"]),
    "link's type": ([link(weight="much")], ["links.weight", "'much' is no float"]),
    "link's weight": ([link(weight=-1.0)], ["weight and warmup must be 0 or more", "-1.0"]),
    "link's teacher": ([link(of="other")], ["names the teacher 'other'", "teacher"]),
    "method": (["--distillation=fitnett"], ["no method 'fitnett'", "mean fitnet?", "All: ab, at"]),
    "method's case": (["--distillation", "FitNet"], ["no method 'FitNet'", "mean fitnet?"]),
    "method's argument": (["--distillation", "crd"], ["crd needs samples", "'crd(samples=…)'"]),
    "method in brackets": (["--distillation", "crd(9"], ["'crd(9' is no file", "{method: NAME}"]),
    "method without taps": (
        ["--distillation=fitnet", f"{LINKS}=[]"],
        ["fitnet needs taps", "distillation.links", "`anyteacher taps TEACHER --student STUDENT`"],
    ),
    "method's direction": (
        ["--distillation=ab", "--distillation.direction=inverted"],
        ["AB cannot be used with direction='inverted'", "'traditional' or 'none'"],
    ),
    "method of other classes": (
        ["--distillation=kd", link(student="head", teacher="head")],
        ["Link 'kd head<-head'", "KD needs the same width", "10 channels", "5 from the teacher"],
    ),
    "method of levels": (["--distillation=fsp"], ["FSP", "needs 2 or more", "a list of taps"]),
    "tap": ([link(student="stages.7")], ["no module 'stages.7'", "mean stages.1"]),
    "levels": (
        [link(student=["stages.0", "stages.1"])],
        ["as many taps", "got 2 and 1", "[stages.0, stages.1] and [stages.1]"],
    ),
    "tap of a level": (
        [link(student=["stages.0", "stages.7"], teacher=["stages.0", "stages.1"])],
        ["no module 'stages.7'", "mean stages.1"],
    ),
    "level's weight": ([link(level_weights=["a"])], ["links.level_weights", "'a' is no float"]),
    "levels' weights": (
        [link(level_weights=[1, 1])],
        ["each of the link's 1 levels", "[1.0, 1.0]"],
    ),
    "one level": ([link(loss="FSP")], ["FSP", "needs 2 or more", "Give both sides a list"]),
    "missing tap": ([f'{LINKS}=[{{"teacher": "stages.1"}}]'], ["student must be given"]),
    "no tap of the teacher": (
        [f'{LINKS}=[{{"student": "stages.1"}}]'],
        ["MSE compares the student with a teacher", "no `teacher` tap"],
    ),
    "regulariser's rank": (
        [f'{LINKS}=[{{"student": "stages.1", "loss": {json.dumps(RANK_300)}}}]'],
        ["'stages.1:TrailingEnergy'", "rank 300 leaves nothing of 8 channels"],
    ),
    "projector's key": (
        [link(projector={"class_path": "LowRank", "init_args": {"rnk": 2}})],
        ["LowRank takes no 'rnk'", "mean rank"],
    ),
    "projector's missing key": ([link(projector="LowRank")], ["rank must be given"]),
    "projector's value": (
        [link(projector={"class_path": "LowRank", "init_args": {"rank": 300}})],
        ["Link 'stages.1<-stages.1'", "rank of at most 8"],
    ),
    "no file": (["--config=nowhere.yaml"], ["config", "does not exist", "nowhere.yaml"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_give_one_clear_line(call, tmp_path, case):
    flags, expected = WRONG[case]
    status, _, error = call("fit", CONFIG, f"--output={tmp_path / 'run'}", *flags)
    assert status == 2
    assert len(error.strip().splitlines()) == 1
    assert error.startswith("anyteacher fit: ")
    for text in expected:
        assert text in error, error


WRONG_YAML = {
    "group": ("optimisation: {lr: 1}", ["no setting 'optimisation", "optimization.lr"]),
    "key": ("optimization: {lrr: 1}", ["no setting 'optimization.lrr'", "optimization.lr"]),
    "class": ("task: {class_path: Depht}", ["'Depht'", "mean Depth"]),
    "class's key": ("task: {class_path: Depth, init_args: {max_dept: 1}}", ["mean max_depth"]),
    "link": ("distillation: {links: [{student: a, teacher: b, los: MSE}]}", ["mean loss"]),
    "method": ("distillation: fitnet", ["distillation: 'fitnet' is no file", "{method: NAME}"]),
    "syntax": ("task: [", ["Problems parsing config", "line 2"]),
}


@pytest.mark.parametrize("case", WRONG_YAML)
def test_wrong_yaml_gives_one_clear_line(call, tmp_path, case):
    text, expected = WRONG_YAML[case]
    (tmp_path / "bad.yaml").write_text(text + "\n")
    status, _, error = call("fit", CONFIG, f"--config={tmp_path / 'bad.yaml'}")
    assert status == 2
    assert len(error.strip().splitlines()) == 1
    for part in expected:
        assert part in error, error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fitt"], "no command 'fitt'. Did you mean fit?"),
        (["fit"], "data, student, task must be given"),
        (["test"], "give the folder of a run"),
        (["test", "nowhere"], "'nowhere' is no run"),
        (["analyze"], "give the folder of a run"),
        (["rooms", "--split=trian"], "Did you mean train?"),
        (["rooms", "--size", "12"], "expected 2 arguments"),
        (["demo", "--quik"], "Did you mean quick?"),
        (["taps", "tim:resnet18"], "Did you mean timm?"),
        (["taps", "timm:resnet19"], "timm has no model 'resnet19'"),
        (["taps", "resnet18"], "neither timm:NAME"),
        (["taps", "anyteacher.models.ConvNe"], "Did you mean ConvNet"),
        (["taps", "anyteacher.models.ConvNet"], "Takes: classes, in_channels, widths."),
        (["taps", "anyteacher.models.ConvNet(clases=3)"], "Did you mean classes?"),
        (["taps", "anyteacher.models.ConvNet(3)"], "arguments go by name"),
        (["taps", "anyteacher.models.ConvNet(classes=exit())"], "neither timm:NAME"),
        (["taps", "anyteacher.seeding.forked"], "not a torch module"),
    ],
)
def test_other_wrong_commands(call, arguments, expected):
    status, _, error = call(*arguments)
    assert (status, len(error.strip().splitlines())) == (2, 1)
    assert expected in error


def test_fit_leaves_a_run_whose_configuration_gives_the_same_weights(call, run, tmp_path):
    status, out, _ = call("fit", f"--config={run / 'config.yaml'}", f"--output={tmp_path / 'b'}")
    assert status == 0
    assert "Best val/top1" in out
    assert (tmp_path / "b" / STUDENT).read_bytes() == (run / STUDENT).read_bytes()


def test_a_run_is_not_overwritten_but_resumed_when_asked(call, run):
    before = (run / STUDENT).read_bytes()
    status, _, error = call("fit", CONFIG, f"--output={run}")
    assert (status, "holds a run already" in error) == (2, True)
    assert call("fit", CONFIG, f"--output={run}", "--resume")[0] == 0
    assert (run / STUDENT).read_bytes() == before


def test_direction_and_weight_for_all_links(call, run, tmp_path):
    losses = {}
    for flag in ("direction=traditional", "direction=none", "weight=0.5"):
        folder = tmp_path / flag
        assert call("fit", CONFIG, f"--output={folder}", f"--distillation.{flag}")[0] == 0
        losses[flag] = read_curves(folder / "curves.csv")["train/total"]
    losses["as it is"] = read_curves(run / "curves.csv")["train/total"]
    assert len({tuple(values) for values in losses.values()}) == 4


def test_without_links_the_student_trains_alone(call, tmp_path):
    folder = tmp_path / "alone"
    alone = [f"{LINKS}=[]", "--teacher=null", "--seed=3"]
    assert call("fit", CONFIG, f"--output={folder}", *alone)[0] == 0
    assert not any("connections" in key for key in runs.read(folder)["state_dict"])


def test_links_given_by_a_flag_inherit_nothing(call, run, tmp_path):
    assert call("fit", CONFIG, f"--output={tmp_path / 'run'}", link())[0] == 0
    for folder, warmup in ((run, 7), (tmp_path / "run", 0)):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["distillation"]["links"][0]["warmup"] == warmup


def test_several_teachers_by_name(call, tmp_path):
    path = tmp_path / "two.yaml"
    build = "{class_path: anyteacher.models.ConvNet, init_args: {classes: 5, widths: [6, 8]}}"
    random = "{class_path: anyteacher.teachers.Random, init_args: {seed: %d, build: " + build + "}}"
    path.write_text(
        f"teacher:\n  first: {random % 1}\n  second: {random % 2}\n"
        "distillation:\n  links:\n"
        "    - {student: stages.1, teacher: stages.1, of: first, name: one}\n"
        "    - {student: stages.0, teacher: stages.0, of: second, name: two}\n"
    )
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--config={path}", f"--output={folder}")[0] == 0
    assert {"train/one", "train/two"} <= set(read_curves(folder / "curves.csv"))
    again = tmp_path / "again"
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()


LEVELS = {
    "a loss for each": {"level_weights": [1, 0.5]},
    "a projector of all": {"projector": "ABF", "loss": "HCL", "level_weights": [1, 1]},
    "a loss of all": {"loss": {"class_path": "FSP", "init_args": {"pool": "average"}}},
}


@pytest.mark.parametrize("case", LEVELS)
@pytest.mark.parametrize("direction", ["inverted", "traditional"])
def test_a_link_over_several_levels(call, tmp_path, case, direction):
    taps = ["stages.0", "stages.1"]
    settings = {"student": taps, "teacher": taps, "warmup": 0, **LEVELS[case]}
    path = tmp_path / "levels.yaml"
    path.write_text(yaml.dump({"distillation": {"links": [settings], "direction": direction}}))
    folder, again = tmp_path / "run", tmp_path / "again"
    assert call("fit", CONFIG, f"--config={path}", f"--output={folder}")[0] == 0
    assert "train/stages.0+stages.1<-stages.0+stages.1" in read_curves(folder / "curves.csv")
    saved = yaml.safe_load((folder / "config.yaml").read_text())["distillation"]["links"][0]
    assert (saved["student"], saved["teacher"]) == (taps, taps)
    assert saved["level_weights"] == LEVELS[case].get("level_weights", [])
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()
    assert call("test", folder)[0] == 0


METHOD = [
    ["--distillation", "fitnet"],
    ["--distillation=fitnet"],
    ["--distillation.method=fitnet"],
    ["--distillation.method", "fitnet()"],
]


def test_a_method_by_its_name_however_it_is_given(call, run, tmp_path):
    (tmp_path / "named.yaml").write_text("distillation: {method: fitnet}\n")
    weights = set()
    for number, flags in enumerate([*METHOD, [f"--config={tmp_path / 'named.yaml'}"]]):
        folder = tmp_path / str(number)
        assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
        assert "train/fitnet stages.1<-stages.1" in read_curves(folder / "curves.csv")
        weights.add((folder / STUDENT).read_bytes())
    assert len(weights) == 1
    assert (run / STUDENT).read_bytes() not in weights


@pytest.mark.parametrize("method", ["rkd", "crd(samples=80)", "ab", "ofd"])
def test_a_run_by_a_method_says_so_and_reads_back(call, tmp_path, method):
    folder, again = tmp_path / "run", tmp_path / "again"
    assert call("fit", CONFIG, f"--output={folder}", "--distillation", method)[0] == 0
    saved = yaml.safe_load((folder / "config.yaml").read_text())["distillation"]
    assert saved["method"] == method
    assert (saved["links"][0]["student"], saved["links"][0]["warmup"]) == ("stages.1", 7)
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()
    assert call("test", folder)[0] == 0
    Image.new("L", (8, 8), 90).save(tmp_path / "one.png")
    images = f"--images={tmp_path / 'one.png'}"
    assert call("predict", folder, images, f"--output={tmp_path / 'out'}")[0] == 0


def test_a_method_takes_the_common_direction_and_weight(call, tmp_path):
    totals = {}
    for flag in ("direction=inverted", "direction=none", "weight=0.5"):
        folder = tmp_path / flag
        flags = ["--distillation=at", f"--distillation.{flag}"]
        assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
        curves = read_curves(folder / "curves.csv")
        task, loss, total = (
            curves[f"train/{name}"][0][1] for name in ("task", "at stages.1<-stages.1", "total")
        )
        assert total == pytest.approx(task + (500 if "weight" in flag else 1000) * loss, rel=1e-4)
        totals[flag] = total
    assert len(set(totals.values())) == 3


@pytest.mark.parametrize("method", ["fsp", "kd_svd", "reviewkd"])
def test_links_are_the_levels_of_a_method_over_levels(call, tmp_path, method):
    links = [{"student": f"stages.{n}", "teacher": f"stages.{n}"} for n in range(2)]
    flags = [f"{LINKS}={json.dumps(links)}", "--distillation", method]
    folder, again = tmp_path / "run", tmp_path / "again"
    assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
    curves = read_curves(folder / "curves.csv")
    assert f"train/{method} stages.0+stages.1<-stages.0+stages.1" in curves
    assert call("fit", f"--config={folder / 'config.yaml'}", f"--output={again}")[0] == 0
    assert (again / STUDENT).read_bytes() == (folder / STUDENT).read_bytes()


def test_lightnings_callbacks_by_name(call, tmp_path):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/top1"]
    stop += ["--trainer.callbacks.stopping_threshold=0.0", "--trainer.callbacks.mode=max"]
    assert call("fit", CONFIG, f"--output={tmp_path / 'run'}", *stop)[0] == 0
    assert runs.read(tmp_path / "run")["global_step"] == 5


@pytest.mark.parametrize("command", ["test", "validate"])
def test_metrics_of_a_run(call, run, command):
    status, out, _ = call(command, run)
    assert status == 0
    assert "top1" in out
    assert "top5" in out


def test_metrics_are_left_in_the_run_with_the_weights_that_they_are_of(call, run):
    weights = run / STUDENT
    for command, split in (("test", "test"), ("validate", "val")):
        path = run / f"{split}.json"
        path.unlink(missing_ok=True)
        _, out, _ = call(command, run, "--trainer.accelerator=cpu", "--threads=1")
        kept = read_result(run, split, weights)
        assert set(kept) == {"top1", "top5"}
        assert all(f"{value:.4f}" in out for value in kept.values())
        assert "Not kept" not in out
        path.unlink()


@pytest.mark.parametrize(
    ("flag", "what"),
    [
        ("--weights={run}/checkpoints/last.ckpt", "other weights."),
        ("--data.batch_size=9", "other data."),
        ("--images_norm.mean=[0.5]", "other images_norm."),
    ],
)
def test_metrics_of_something_else_are_not_left_in_the_run(call, run, flag, what):
    (run / "test.json").unlink(missing_ok=True)
    status, out, _ = call("test", run, flag.format(run=run))
    assert status == 0
    assert f"Not kept in the run, which has {what}" in out
    assert not (run / "test.json").exists()


def test_a_run_is_tested_without_its_teacher(call, run, tmp_path):
    folder = tmp_path / "moved"
    run.rename(folder)
    teacher = "--teacher=anyteacher.Teacher", "--teacher.model=torch.nn.Identity"
    weights = "--teacher.weights=gone.pt"
    try:
        assert call("test", folder, *teacher, weights)[0] == 0
    finally:
        folder.rename(run)


def test_predictions(call, run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("L", (20, 30), 90).save(images / "ok.png")
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    status, out, _ = call("predict", run, f"--images={images}", f"--output={tmp_path / 'o'}")
    assert status == 1
    assert "1 images predicted" in out
    assert "broken.jpg" in out
    assert len(json.loads((tmp_path / "o" / "ok_png.json").read_text())["top"]) == 5
    (images / "ok.png").unlink()
    status, _, error = call("predict", run, f"--images={images}", f"--output={tmp_path / 'p'}")
    assert (status, "could be read" in error) == (2, True)
    status, _, error = call("predict", run, f"--images={tmp_path / 'none'}")
    assert (status, "no folder or image" in error) == (2, True)


def test_taps_of_two_models_are_links_to_paste(call, tmp_path):
    student = "anyteacher.models.EncoderDecoder(out_channels=1, width=8)"
    status, out, _ = call("taps", "timm:resnet18", f"--student={student}", "--size", "64", "64")
    assert status == 0
    assert "layer4" in out
    text = out[out.index("# student:") :]
    links = yaml.safe_load(text)["distillation"]["links"]
    assert links[0] == {"student": "encoder.3", "teacher": "layer3"}
    assert f"# student: {student}, teacher: timm:resnet18" in text


def test_rooms_contact_sheet(call, tmp_path):
    path = tmp_path / "rooms.png"
    assert call("rooms", f"--show={path}", "--count=2", "--size", "16", "24")[0] == 0
    assert read_image(path).std() > 0.05


def test_help_and_version(call):
    assert call("--version") == (0, f"anyteacher {__version__}\n", "")
    status, out, _ = call()
    assert status == 0
    for command in cli.COMMANDS:
        assert f"  {command} " in out


def test_help_of_fit_names_what_can_be_chosen(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    out = capsys.readouterr().out
    assert "  tasks:        Classification, Depth, Edges, MultiLabel, Normals, Segm" in out
    assert re.search(r"\n  losses:       .*\bMSE,", out)
    assert re.search(r"\n  projectors:   ABF, .*\bLinear,", out)
    assert re.search(r"\n  methods:      ab, at, .*\bfitnet, .*\bvkd\n", out)
    assert re.search(r"\n  regularizers: EffectiveRank, .*\bTrailingEnergy\n", out)
    losses = out.partition("losses:")[2].partition("regularizers:")[0].replace(",", " ").split()
    assert {"Cosine", "LogSum", "MSE"} <= set(losses)
    assert losses == sorted(losses)
    assert "torch.nn.Linear" not in out
    assert len(out.splitlines()) < 500


def test_the_overview_imports_no_more_than_the_core():
    code = (
        "import sys; from anyteacher.cli import main; main(['--help']);"
        "print([m for m in ('lightning', 'torchmetrics', 'jsonargparse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_script_finds_models_in_the_current_folder(monkeypatch, tmp_path, capsys):
    (tmp_path / "my_models.py").write_text(
        "from torch import nn\n\ndef build(width):\n    return nn.Conv2d(3, width, 2, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["anyteacher", "taps", "my_models.build(width=5)"])
    with pytest.raises(SystemExit) as end:
        cli.script()
    assert end.value.code == 0
    assert sys.path[0] == str(tmp_path)


def test_a_null_in_place_of_a_default_stays_in_the_run(call, tmp_path):
    """An smp model without pretrained weights, whose default is to download some."""
    path = tmp_path / "unet.yaml"
    unet = "segmentation_models_pytorch.Unet"
    settings = "{encoder_name: resnet18, encoder_weights: null, encoder_depth: 3, classes: 7, "
    settings += "decoder_channels: [8, 8, 8]}"
    path.write_text(
        f"task: {{class_path: Segmentation, init_args: {{classes: 7}}}}\n"
        f"student: {{class_path: {unet}, init_args: {settings}}}\n"
        "data: {class_path: RoomsData, init_args: {train_size: 4, val_size: 2, test_size: 2, "
        "size: [16, 24], targets: [segmentation], batch_size: 2}}\n"
        "trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}\n"
    )
    folder = tmp_path / "run"
    assert call("fit", f"--config={path}", f"--output={folder}")[0] == 0
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["student"]["init_args"]["encoder_weights"] is None
    status, out, _ = call("test", folder)
    assert status == 0
    assert "miou" in out.lower()


def test_a_resumed_run_keeps_its_own_settings(call, tmp_path):
    folder = tmp_path / "run"
    flags = ["--optimization.lr=0.03", "--trainer.max_epochs=1"]
    assert call("fit", CONFIG, f"--output={folder}", *flags)[0] == 0
    # Without a file of settings, and with the one it was started from: flags alone count.
    for config in ([], [CONFIG]):
        status, out, _ = call("fit", *config, f"--output={folder}", "--resume")
        assert (status, "nothing left to train" in out) == (0, True)
    assert call("fit", f"--output={folder}", "--resume", "--trainer.max_epochs=2")[0] == 0
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert (saved["optimization"]["lr"], saved["trainer"]["max_epochs"]) == (0.03, 2)
    whole = tmp_path / "whole"
    assert call("fit", CONFIG, f"--output={whole}", flags[0], "--trainer.max_epochs=2")[0] == 0
    # The schedule of the learning rate knew of one epoch only: the steps of the first agree not,
    # but the run went on where it was.
    assert runs.read(folder)["global_step"] == runs.read(whole)["global_step"] == 10


def test_a_resumed_run_that_does_not_fit_stays_as_it_was(call, tmp_path):
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--output={folder}")[0] == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for changed, what in {
        "--student.init_args.widths=[4,12]": "student.init_args.widths[1] from 8 to 12",
        "--seed=77": "seed from",
        "--distillation.weight=7": "distillation.weight from 1.0 to 7.0",
    }.items():
        flags = [f"--output={folder}", "--resume", changed, "--trainer.max_epochs=9"]
        status, _, error = call("fit", *flags)
        assert status == 2
        assert len(error.strip().splitlines()) == 1
        assert f"was trained with other settings: {what}" in error
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert files == before
    assert call("test", folder)[0] == 0


def test_an_interrupted_fit_names_what_goes_on(call, monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)  # as Lightning does

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", interrupted)
    status, _, error = call("fit", CONFIG, f"--output={tmp_path / 'run'}")
    assert status == 130
    assert error == "anyteacher fit: interrupted. The same command with --resume goes on.\n"


def test_strategies_that_lose_the_projectors_are_refused(call, tmp_path):
    flags = ["--trainer.strategy=ddp_spawn", "--trainer.devices=2"]
    status, _, error = call("fit", CONFIG, f"--output={tmp_path / 'run'}", *flags)
    assert (status, "Use strategy 'ddp'" in error) == (2, True)


def test_a_trial_of_one_batch_leaves_no_error(call, tmp_path):
    flags = [f"--output={tmp_path / 'run'}", "--trainer.fast_dev_run=1"]
    status, out, _ = call("fit", CONFIG, *flags)
    assert (status, "nothing of it was kept" in out) == (0, True)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rooms", "--show=x.foo"], "'x.foo' has an ending that is no image format"),
        (["rooms", "--show=x.psd"], "'x.psd' has an ending that is no image format"),
        (["rooms", "--show=/dev/null/x.png", "--count=1"], "cannot be written"),
        (["taps", "timm:resnet18", "--size", "0", "64"], "at least one pixel and channel"),
    ],
)
def test_other_commands_refuse_what_cannot_be(call, arguments, message):
    status, _, error = call(*arguments)
    assert (status, message in error, len(error.splitlines())) == (2, True, 1)


@pytest.mark.parametrize("method", ["kd", "dist", "standardized_kd"])
def test_features_are_not_taken_for_logits(call, tmp_path, method):
    status, _, error = call("fit", CONFIG, f"--output={tmp_path / 'run'}", "--distillation", method)
    assert status == 2
    assert "compares logits, and taps a feature of 8 channels" in error
    assert "whose output has 10" in error


def test_an_argument_of_a_method_of_the_wrong_type(call, tmp_path):
    flags = [f"--output={tmp_path / 'run'}", "--distillation", "crd(samples='x')"]
    status, _, error = call("fit", CONFIG, *flags)
    assert status == 2
    assert "crd's samples is a value of type int, got 'x'" in error


def test_a_checkpoint_that_cannot_be_gone_on_from_says_why(call, tmp_path):
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--output={folder}")[0] == 0
    fewer = [f"--output={folder}", "--resume", "--trainer.max_epochs=1"]
    status, _, error = call("fit", *fewer)
    assert (status, len(error.splitlines()), "cannot be gone on from" in error) == (2, 1, True)
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-500])
    status, _, error = call("fit", f"--output={folder}", "--resume")
    assert (status, len(error.splitlines())) == (2, 1)
    assert "is damaged" in error
    assert "best.ckpt" in error


def test_a_run_that_stopped_early_is_complete(call, tmp_path):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/top1"]
    stop += ["--trainer.callbacks.stopping_threshold=0.0", "--trainer.callbacks.mode=max"]
    folder = tmp_path / "run"
    assert call("fit", CONFIG, f"--output={folder}", *stop)[0] == 0
    before = (folder / STUDENT).read_bytes()
    status, out, _ = call("fit", f"--output={folder}", "--resume")
    assert (status, "nothing left to train" in out) == (0, True)
    assert runs.read(folder)["global_step"] == 5
    assert (folder / STUDENT).read_bytes() == before


def test_a_name_with_a_colon_is_told_as_it_is(call, run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "b:smile:[red].jpg").write_bytes(b"\xff\xd8")
    Image.new("L", (20, 30), 90).save(images / "ok.png")
    _, out, _ = call("predict", run, f"--images={images}", f"--output={tmp_path / 'o'}")
    assert "b:smile:[red].jpg" in out


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_run_that_is_not_finished_says_so(call, run, tmp_path, command):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text((run / "config.yaml").read_text())
    flags = [f"--images={tmp_path}"] if command == "predict" else []
    status, _, error = call(command, folder, *flags)
    assert (status, len(error.splitlines())) == (2, 1)
    assert f"is not finished: it has no {STUDENT}. Go on with `anyteacher fit --resume" in error
