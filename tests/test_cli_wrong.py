"""Wrong settings by the command: one line with the problem, what was given and what to do."""

import json

import pytest
from cli_flags import CONFIG, LINKS, link

RANK_300 = {"class_path": "TrailingEnergy", "init_args": {"rank": 300}}


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
    "task without methods": (["--task=anyteacher.tasks.Task"], ["lacks what every task", "draw, "]),
    "task": (["--task=Classificaton"], ["'Classificaton'", "mean Classification"]),
    "option": (["--task.classess=3"], ["takes no 'classess'", "mean classes"]),
    "data": (["--data=DigitData"], ["'DigitData'", "mean DigitsData"]),
    "teacher": (["--teacher=Randm"], ["'Randm'", "mean Random"]),
    "student": (["--student=Nett"], ["'Nett'", "anyteacher.models.ConvNet", "import path"]),
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
    "regulariser's two settings": (
        [f'{LINKS}=[{{"student": "stages.1", "loss": {RANK_300}}}]', f"{LINKS}.loss.energy=0.9"],
        ["got rank=300 and energy=0.9. Leave one out, or set it to null."],
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
    "syntax": ("task: [", ["bad.yaml', line 2, column 1 is no YAML"]),
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


def test_an_argument_of_a_method_of_the_wrong_type(call, tmp_path):
    flags = [f"--output={tmp_path / 'run'}", "--distillation", "crd(samples='x')"]
    status, _, error = call("fit", CONFIG, *flags)
    assert status == 2
    assert "crd's samples is a value of type int, got 'x'" in error
