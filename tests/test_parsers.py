import pytest

from anyteacher import cli
from anyteacher.parsers import _SETTINGS, make_parser


def test_every_command_has_settings():
    assert set(_SETTINGS) == set(cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_setting_is_explained(command):
    parser, handler = make_parser(command, cli.COMMANDS[command])
    assert callable(handler)
    bare = [
        action.option_strings
        for action in parser._actions
        if action.help is None and action.option_strings
    ]
    assert bare == []


def test_what_the_command_decides_itself_is_no_flag():
    parser, _ = make_parser("fit", "")
    flags = {option for action in parser._actions for option in action.option_strings}
    assert {"--trainer.max_epochs", "--trainer.devices", "--trainer.strategy"} <= flags
    assert not {"--trainer.logger", "--trainer.gradient_clip_val"} & flags
