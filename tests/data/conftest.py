import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Tests may share few cores with others; threads that wait for each other would stall them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
