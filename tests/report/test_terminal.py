import io

from rich.console import Console

from anyteacher.report import Table, print_table, say


def printed(table, width=80, terminal=False):
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=terminal)
    print_table(table, console)
    return out.getvalue()


def test_the_table_is_printed_with_aligned_numbers():
    shown = printed(Table(["student", "AbsRel"], [["alone", 0.2], ["b", 10.0]], "Depth", "Lower."))
    lines = [line.rstrip() for line in shown.splitlines()]
    alone = next(line for line in lines if "alone" in line)
    other = next(line for line in lines if "10.000" in line)
    assert len(alone) == len(other)
    assert lines[0] == "Depth"
    assert "Lower." in lines


def test_markup_in_cells_is_text():
    assert "[red]x[/red] [/]" in printed(Table(["[b]a"], [["[red]x[/red] [/]"]]))


def test_long_cells_are_folded_not_cut():
    shown = printed(Table(["a", "b"], [["x" * 50, "y" * 50]]), width=40, terminal=True)
    assert (shown.count("x"), shown.count("y")) == (50, 50)
    assert max(map(len, shown.splitlines())) <= 40


def test_a_pipe_gets_every_row_in_one_line():
    shown = printed(Table(["a", "b"], [["x" * 90, "y" * 90]], note="z " * 60))
    (row,) = [line for line in shown.splitlines() if "x" in line]
    assert "x" * 90 in row
    assert "y" * 90 in row


def test_a_sentence_is_printed_as_it_is_and_in_one_line(capsys):
    say("a:smile: [red]b[/red] " + "c" * 200)
    assert capsys.readouterr().out == "a:smile: [red]b[/red] " + "c" * 200 + "\n"
