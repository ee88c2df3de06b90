from anyteacher.bench.markdown import NOTICE, markdown
from anyteacher.report import Difference, DifferenceMatrix, Facts, Section, Table


def test_texts_and_tables_in_order():
    table = Table(["name", "value"], [["a|b", 1.5]], "Caption", "A note.", decimals=1)
    matrix = DifferenceMatrix(["r"], ["c"], [[Difference(1.0, -1.0, 3.0)]], corner="both")
    text = markdown(
        "Title",
        "Intro.",
        [Section("One", "Text.", [table, Facts({"a": "b"})]), Section("Two", "", [matrix])],
    )
    assert text == "\n".join(
        [
            NOTICE,
            "# Title",
            "",
            "Intro.",
            "",
            "## One",
            "",
            "Text.",
            "",
            "**Caption**",
            "",
            "| name | value |",
            "| --- | ---: |",
            r"| a\|b | 1.5 |",
            "",
            "A note.",
            "",
            "## Two",
            "",
            "| both | c |",
            "| --- | ---: |",
            "| r | 1.0 [−1.0, 3.0] |",
            "",
        ]
    )
