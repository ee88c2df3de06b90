import platform

import torch

from anyteacher.report import machine_facts


def test_the_machine_is_described_in_words():
    facts = machine_facts()
    assert facts["Python"] == platform.python_version()
    assert facts["PyTorch"] == torch.__version__
    assert facts["cores"].endswith(f"of which PyTorch uses {torch.get_num_threads()}")
    assert all(isinstance(value, str) and value for value in facts.values())


def test_an_unusual_system_is_not_an_error(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda _: (_ for _ in ()).throw(ValueError("unknown name")))
    monkeypatch.setattr("pathlib.Path.is_file", lambda _: False)
    monkeypatch.setattr("platform.processor", lambda: "")
    facts = machine_facts()
    assert (facts["memory"], facts["processor"]) == ("unknown", "unknown")
