import warnings

from anyteacher.commands import _told_in_a_sentence
from anyteacher.errors import CollapseWarning


def test_a_collapse_is_told_in_a_sentence_and_other_warnings_as_ever(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = []
        warnings.showwarning = lambda message, category, *_: shown.append(category)
        with _told_in_a_sentence():
            warnings.warn("Link 'a': it [bold]fell[/bold]", CollapseWarning, stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("Link 'b'", CollapseWarning, stacklevel=1)
    assert capsys.readouterr().out == "Warning: Link 'a': it [bold]fell[/bold]\n"
    assert shown == [DeprecationWarning, CollapseWarning]
