import yaml

from anyteacher import listings
from anyteacher.survey import Candidate


def test_taps_of_two_models_are_links_to_paste(call, tmp_path):
    student = "anyteacher.models.EncoderDecoder(out_channels=1, width=8)"
    status, out, _ = call("taps", "timm:resnet18", f"--student={student}", "--size", "64", "64")
    assert status == 0
    assert "layer4" in out
    text = out[out.index("# student:") :]
    links = yaml.safe_load(text)["distillation"]["links"]
    assert links[0] == {"student": "encoder.3", "teacher": "layer3"}
    assert f"# student: {student}, teacher: timm:resnet18" in text


def test_two_models_of_which_no_layers_go_together(call, monkeypatch):
    monkeypatch.setattr(listings, "suggest", lambda mine, theirs: [])
    model = "torch.nn.Conv2d(in_channels=3, out_channels=4, kernel_size=2, stride=2)"
    status, out, _ = call("taps", model, f"--student={model}", "--size", "6", "8")
    assert (status, out.splitlines()[-1]) == (0, "No pair of layers goes together.")


def test_a_layer_as_a_row_and_as_a_line_to_paste():
    layers = [
        Candidate("encoder.0", "map", (4, 3, 5), 4, (3, 5), 2.5, 1234),
        Candidate("head", "vector", (7,), 7, None, None, 8),
    ]
    table = listings._candidates("a", layers)
    assert table.rows == (
        ("encoder.0", "map", "4 x 3 x 5", "2.5", "1,234"),
        ("head", "vector", "7", "", "8"),
    )
    assert listings._described(layers[0]) == "encoder.0                 # map, 4 x 3 x 5"
