import pytest
import yaml

from anyteacher.arguments import prepared
from anyteacher.errors import ConfigError


@pytest.fixture
def run(tmp_path):
    """A run that can go on."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "config.yaml").write_text("seed: 7\n")
    return folder


def write(path, **settings):
    path.write_text(yaml.safe_dump(settings))
    return path


def test_a_command_about_a_run_has_its_settings_before_the_flags(run):
    expected = [str(run), f"--config={run / 'config.yaml'}", "--threads=1"]
    assert prepared("test", [str(run), "--threads=1"]) == expected
    with pytest.raises(ConfigError, match=r"is no run: it has no config.yaml"):
        prepared("test", [str(run / "none")])
    assert prepared("test", ["--help"]) == ["--help"]


def test_a_resumed_run_has_its_settings_behind_the_files_and_before_later_flags(run):
    own = f"--config={run / 'config.yaml'}"
    out = f"--output={run}"
    assert prepared("fit", ["--resume", out]) == [own, "--resume", out]
    early = ["--seed=1", "--config", "a.yaml", "--config=b.yaml", "--seed=2", out, "--resume"]
    assert prepared("fit", early) == [*early[:4], own, *early[4:]]
    apart = ["--config=a.yaml", "--output", str(run), "--resume=true"]
    assert prepared("fit", apart) == [apart[0], own, *apart[1:]]


def test_the_folder_and_the_wish_may_stand_in_a_file(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "runs" / "fit" / "checkpoints"  # the default, which is not meant
    other.mkdir(parents=True)
    (other / "last.ckpt").touch()
    (other.parent / "config.yaml").write_text("seed: 9\n")
    own = f"--config={run / 'config.yaml'}"
    file = f"--config={write(tmp_path / 'a.yaml', output=str(run))}"
    assert prepared("fit", [file, "--resume"]) == [file, own, "--resume"]
    both = f"--config={write(tmp_path / 'b.yaml', output=str(run), resume=True)}"
    assert prepared("fit", [both]) == [both, own]
    assert prepared("fit", [both, "--resume=false"]) == [both, "--resume=false"]


@pytest.mark.parametrize("missing", ["last.ckpt", "config.yaml"])
def test_what_cannot_go_on_is_left_alone(run, missing):
    next(run.rglob(missing)).unlink()
    given = ["--config=a.yaml", f"--output={run}", "--resume"]
    assert prepared("fit", given) == given
    assert prepared("fit", given[:2]) == given[:2]


def test_links_that_are_set_again_inherit_nothing(tmp_path):
    one = f"--config={write(tmp_path / 'one.yaml', distillation={'links': []})}"
    two = f"--config={write(tmp_path / 'two.yaml', seed=1)}"
    empty = "--distillation.links=[]"
    assert prepared("fit", [one, two, one]) == [empty, one, two, empty, one]
    flag = "--distillation.links=[{student: a, teacher: b}]"
    assert prepared("fit", [two, flag]) == [two, empty, flag]


ENERGY = "{class_path: TrailingEnergy, init_args: {energy: 0.9}}"
LOSS = "--distillation.links.loss"
PARTS = {
    "class": ([f"{LOSS}=MSE"], [f"{LOSS}=null", f"{LOSS}=MSE"]),
    "apart": ([LOSS, ENERGY, "--seed=1"], [f"{LOSS}=null", LOSS, ENERGY, "--seed=1"]),
    "settings alone": ([LOSS, "{rank: 3}"], [LOSS, "{rank: 3}"]),
    "a setting": ([f"{LOSS}.rank", "3"], [f"{LOSS}.rank", "3"]),
    "a null": ([f"{LOSS}.rank", "null"], [f"{LOSS}={{rank: null}}"]),
    "a null by its full name": ([f"{LOSS}.init_args.rank=~"], [f"{LOSS}={{rank: null}}"]),
    "of the link": (["--distillation.links.of=a"], ["--distillation.links.of=a"]),
    "nothing": ([f"{LOSS}.rank"], [f"{LOSS}.rank"]),
    "no YAML": ([f"{LOSS}={{a"], [f"{LOSS}={{a"]),
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_of_a_link_that_are_set_again_inherit_nothing(case):
    given, expected = PARTS[case]
    assert prepared("fit", given) == expected
    assert prepared("fit", [word.replace("loss", "projector") for word in given]) == [
        word.replace("loss", "projector") for word in expected
    ]


def test_a_file_that_is_none_is_for_the_parser_to_refuse(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"\xff{: [")
    for path in (broken, tmp_path / "none.yaml", tmp_path):
        assert prepared("fit", [f"--config={path}"]) == [f"--config={path}"]
    assert prepared("fit", ["--config"]) == ["--config"]


@pytest.mark.parametrize("given", [["--distillation", "at"], ["--distillation=at"]])
def test_a_method_by_name_is_written_out(given):
    assert prepared("fit", given) == ["--distillation.method=at"]


def test_what_is_no_name_stays():
    for given in (["--distillation", "{links: []}"], ["--distillation.weight", "at"]):
        assert prepared("fit", given) == given


def test_the_configuration_of_data_to_check_is_a_flag():
    assert prepared("data", ["check", "a.yaml", "--seed=1"]) == ["--config=a.yaml", "--seed=1"]
    assert prepared("data", ["check", "--config=a.yaml"]) == ["--config=a.yaml"]
    assert prepared("data", []) == prepared("data", ["--help"]) == ["--help"]
    with pytest.raises(ConfigError, match=r"Nothing is called 'chek'. Write: "):
        prepared("data", ["chek", "a.yaml"])


def test_a_run_that_is_not_there_is_not_gone_on_with(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere' holds no run to go on with: .* \(--config\)"):
        prepared("fit", ["--resume", f"--output={tmp_path / 'nowhere'}"])
    # With the settings of a run it is a new one, which may be started the same way again.
    for given in ("--config=a.yaml", "--student=Net"):
        rest = [given, "--resume", f"--output={tmp_path / 'nowhere'}"]
        assert prepared("fit", rest) == rest


def test_a_run_that_stopped_before_its_first_checkpoint_is_started_again(run):
    (run / "checkpoints" / "last.ckpt").unlink()
    again = rf"stopped before .* `anyteacher fit --config {run}/config.yaml --output {run}`\.$"
    with pytest.raises(ConfigError, match=again):
        prepared("fit", ["--resume", f"--output={run}"])


def test_a_file_that_is_no_yaml_is_named(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("task: Depth\n  bad: 1\n")
    with pytest.raises(ConfigError, match=r"c.yaml', line 2, column 6 is no YAML: mapping values"):
        prepared("fit", [f"--config={path}"])
