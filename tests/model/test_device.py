"""Names of devices."""

import pytest
import torch

from litebert.errors import ConfigError
from litebert.model.device import choose_device


def test_a_cpu_is_everywhere() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "vulkan", "cpu:3", "tpu", "", "cuda:99"])
def test_what_litebert_does_not_compute_on(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device = '{name}': .*use (cpu|cuda)|GPU"):
        choose_device(name)
