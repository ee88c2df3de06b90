import xml.etree.ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from anyteacher.report.markup import escape, inline, number, paragraphs

quick = settings(max_examples=100, deadline=None)


@quick
@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_shown(text):
    for markup in (f'<p title="{escape(text)}">{inline(text)}</p>', f"<d>{paragraphs(text)}</d>"):
        ET.fromstring(markup.encode())


@quick
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"])))
def test_ordinary_text_comes_back_unchanged(text):
    assert ET.fromstring(f"<p>{escape(text)}</p>").text == (text or None)


def test_paragraphs_and_code():
    assert paragraphs("one\ntwo\n\n \nthree `x<y`\n") == (
        "<p>one\ntwo</p><p>three <code>x&lt;y</code></p>"
    )
    assert paragraphs("") == ""


def test_number_has_a_true_minus_and_no_negative_zero():
    shown = [number(value, 2) for value in (-1.005, -0.001, 0.0, 12.3, float("inf"))]
    assert shown == ["−1.00", "0.00", "0.00", "12.30", "inf"]
