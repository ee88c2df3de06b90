import io

import pytest
from rich.console import Console

from anyteacher.bench.tally import Tally


def told(terminal, seconds, *, total=10, done=4, ends=False):
    """What is written while a run is made at each of these seconds."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    now = [0.0]
    with Tally("quick", done, console, lambda: now[0]) as tally:
        tally.expect(total)
        for second in seconds:
            now[0] = second
            tally.count("selection")
        if ends:
            tally.expect(tally.done)
    return console.file.getvalue()


def test_without_a_terminal_there_is_a_line_a_minute_and_one_in_the_end():
    assert told(False, [20, 40, 61, 70, 80]).splitlines() == [
        "quick: 7/10 runs, 0:01:01 so far, about 0:01:01 left",
        "quick: 9/10 runs, 0:01:20 so far, about 0:00:16 left",
    ]


def test_where_nothing_is_left_to_make_no_time_is_left():
    assert told(False, [], done=10) == "quick: 10/10 runs, 0:00:00 so far\n"
    # A share of the runs has another number than was expected.
    assert told(False, [30], ends=True) == "quick: 5/5 runs, 0:00:30 so far\n"


@pytest.mark.parametrize(("ends", "count"), [(False, "6/10 runs"), (True, "6/6 runs")])
def test_on_a_terminal_there_is_a_bar(ends, count):
    text = told(True, [1, 2], ends=ends)
    assert "quick: selection" in text
    assert count in text


def test_what_is_said_is_not_taken_for_markup():
    console = Console(file=io.StringIO(), width=20)
    Tally("quick", 0, console).say("failed: [bold] and a long line")
    assert console.file.getvalue() == "failed: [bold] and a long line\n"
