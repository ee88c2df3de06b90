from anyteacher.downloads import not_made, without_downloads
from anyteacher.errors import ConfigError


def test_names_of_weights_to_fetch_are_left_out():
    given = {
        "class_path": "net.Net",
        "init_args": {
            "weights": "IMAGENET1K_V1",
            "encoder_weights": "imagenet",
            "weights_backbone": "DEFAULT",
            "pretrained": True,
            "checkpoint_path": "a.pth",
            "class_weights": [0.5, 2.0],
            "parts": [{"init_args": {"pretrained": True, "width": 3}}],
        },
    }
    assert without_downloads(given) == {
        "class_path": "net.Net",
        "init_args": {
            "weights": None,
            "encoder_weights": None,
            "weights_backbone": None,
            "pretrained": False,
            "checkpoint_path": "",
            "class_weights": [0.5, 2.0],
            "parts": [{"init_args": {"pretrained": False, "width": 3}}],
        },
    }


FETCHING = {
    "class_path": "net.Net",
    "init_args": {
        "encoder_weights": "imagenet",
        "weights": None,
        "encoder": {"class_path": "net.Encoder", "init_args": {"pretrained": True}},
    },
    "dict_kwargs": {"checkpoint_path": "a.pth"},
}


def raised(cause):
    """What a parser makes of an error."""
    error = ValueError("Union subtypes")
    error.__cause__ = cause
    return error


def test_a_hub_that_cannot_be_reached_is_one_sentence_with_the_way_on():
    made = not_made("student", FETCHING, raised(ConnectionError("\n No route.\nmore")))
    assert isinstance(made, ConfigError)
    assert str(made) == (
        "The student cannot be made (ConnectionError: No route). Fetch its weights once where "
        "there is a network, and bring the folder that they are kept in (HF_HOME, TORCH_HOME), or "
        "have it made without: --student.encoder_weights=null "
        '--student.encoder.pretrained=false --student.dict_kwargs.checkpoint_path="". '
        "HF_HUB_OFFLINE=1 in the environment spares the attempts to reach Hugging Face's hub."
    )


def test_a_file_that_is_missing():
    made = not_made("task", {"init_args": {"path": "x"}}, FileNotFoundError())
    assert str(made) == (
        "The task cannot be made (FileNotFoundError: ). Check the files and addresses that its "
        "settings name."
    )
    assert str(not_made("images_norm", None, OSError("gone"))).startswith("The images_norm cannot")


def test_other_errors_are_left_alone():
    assert not_made("student", FETCHING, raised(KeyError("a"))) is None
