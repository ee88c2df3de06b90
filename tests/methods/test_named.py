import pytest

from anyteacher import Layout, Link
from anyteacher.errors import ConfigError
from anyteacher.losses import FSP, SP
from anyteacher.methods.named import links_by, method_named, written_call
from anyteacher.regularizers import LogDet
from anyteacher.taps import Tap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fitnet", ("fitnet", {})),
        (
            "a.b.Net(width=3, taps=['x'], deep=False)",
            ("a.b.Net", {"width": 3, "taps": ["x"], "deep": False}),
        ),
        ("f()", ("f", {})),
    ],
)
def test_a_written_call(text, expected):
    assert written_call(text) == expected


@pytest.mark.parametrize("text", ["f(3)", "f(**x)", "f(a=exit())", "f(", ""])
def test_what_is_no_call_with_literals(text):
    with pytest.raises((SyntaxError, ValueError)):
        written_call(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fitnett", r"no method 'fitnett'\. Did you mean fitnet\?.* All: ab, at, .*vkd\."),
        ("FitNet", r"no method 'FitNet'\. Did you mean fitnet\?"),
        ("distillation", r"no method 'distillation'\. Known: ab, .*"),
        ("linked", r"no method 'linked'"),
        ("crd", r"crd needs samples: write 'crd\(samples=…\)'"),
        ("crd(sample=3)", r"crd takes no 'sample' here\. Did you mean samples\?"),
        ("fitnet(weight=3)", r"fitnet takes no 'weight' here.*--distillation\.weight"),
        ("fitnet(3)", r"names no method \(arguments go by name\)"),
        ("fitnet(", r"'fitnet\(' names no method"),
    ],
)
def test_wrong_names_say_what_to_write(text, message):
    with pytest.raises(ConfigError, match=message):
        method_named(text)


def test_arguments_reach_the_method():
    (link,) = method_named("crd(samples=17)")("a", "b")
    assert link.loss.samples == 17


def test_no_links_no_taps():
    with pytest.raises(
        ConfigError, match=r"fitnet needs taps.*distillation\.links.*anyteacher taps"
    ):
        links_by("fitnet", [])


def test_links_without_a_teacher_stay_as_they_are():
    alone = Link("c", loss=LogDet(), weight=3.0, name="mine")
    links = links_by("at", [alone, Link("a", "b")], "traditional")
    assert links[1] is alone
    assert (links[0].name, links[0].direction) == ("at a<-b", "traditional")
    with pytest.raises(ConfigError, match="at needs taps to compare"):
        links_by("at", [alone])


def test_taps_layouts_and_teachers_are_kept_and_nothing_else():
    layout, other = Layout("tokens", prefix=1), Layout("map")
    given = Link(
        "a", "b", loss=SP(), weight=9.0, warmup=5, student_norm="l2", compare="pooled",
        grid="teacher", direction="none", of="big", student_layout=other, teacher_layout=layout,
    )  # fmt: skip
    (link,) = links_by("at", [given])
    assert (link.student, link.teacher, link.of) == ("a", "b", "big")
    assert (link.student_layout, link.teacher_layout) == (other, layout)
    assert (link.weight, link.warmup, link.student_norm) == (1000.0, 0, "none")
    assert (link.compare, link.grid, link.direction) == ("positions", "student", "inverted")
    assert link.name == "at big a<-b"


def test_a_direction_in_place_of_the_default():
    assert links_by("at", [Link("a", "b")], "none")[0].direction == "none"
    with pytest.raises(ConfigError, match="KD cannot be used with direction='inverted'"):
        links_by("kd", [Link("a", "b")], "inverted")
    assert links_by("kd", [Link("a", "b")])[0].direction == "none"


def test_a_name_stands_in_place_of_the_taps():
    links = links_by("rkd", [Link("a", "b", name="mine"), Link("c", "d")])
    names = ["rkd distance mine", "rkd angle mine", "rkd distance c<-d", "rkd angle c<-d"]
    assert [link.name for link in links] == names


def test_the_same_taps_count_once_as_they_are_first_given():
    (link,) = links_by("fitnet", [Link("a", "b"), Link("a", "b", loss=SP(), name="x")])
    assert link.name == "fitnet a<-b"
    two = [Link("a", "b", of="big"), Link("a", "b", of="small")]
    assert [link.of for link in links_by("fitnet", two)] == ["big", "small"]


def test_each_link_is_one_of_a_method_that_compares_levels_alone():
    links = links_by("fitnet", [Link("a", "b"), Link(["c", "d"], ["e", "f"])])
    assert [link.student for link in links] == ["a", ["c", "d"]]


@pytest.mark.parametrize("method", ["fsp", "kd_svd", "reviewkd", "ab", "ofd"])
def test_links_to_a_teacher_become_levels_where_the_method_relates_or_weighs_them(method):
    given = [
        Link("a", "b", of="big"),
        Link("x", "y", of="small"),
        Link(["c", "d"], ["e", "f"], of="big"),
        Link("c", "e", of="big", name="again"),
        Link("u", "v", of="small"),
    ]
    big, small = links_by(method, given)
    assert big.student == [Tap("a"), Tap("c"), Tap("d")]
    assert big.teacher == [Tap("b"), Tap("e"), Tap("f")]
    assert small.teacher == [Tap("y"), Tap("v")]
    assert (big.of, small.of) == ("big", "small")
    assert small.name == f"{method} small x+u<-y+v"
    assert big.name == f"{method} big a<-b+c+d<-e+f+again"
    if method == "ab":
        assert (big.level_weights, small.level_weights) == ([0.25, 0.5, 1.0], [0.5, 1.0])


def test_joined_levels_keep_their_layouts_when_they_agree():
    layout = Layout("tokens", prefix=1)
    agree = [Link("a", "b", teacher_layout=layout), Link("c", "d", teacher_layout=layout)]
    (link,) = links_by("fsp", agree)
    assert isinstance(link.loss, FSP)
    assert link.teacher_layout == layout
    with pytest.raises(ConfigError, match=r"fsp makes one link.*different layouts"):
        links_by("fsp", [agree[0], Link("c", "d")])
