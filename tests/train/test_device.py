"""What is known of devices."""

from __future__ import annotations

import pytest
import torch

from adaspan.train.device import peak_flops, threads_for_one_token


@pytest.mark.parametrize(
    ("name", "bfloat16", "float32"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12, 66.9e12),
        ("NVIDIA H100 PCIe", 756e12, 51.2e12),
        ("NVIDIA A100-SXM4-40GB", 312e12, 19.5e12),
        ("NVIDIA A10", 125e12, 31.2e12),
        ("NVIDIA A1000", None, None),
        ("Something Else", None, None),
    ],
)
def test_the_peak_rate_of_a_gpu_by_its_name(
    name: str,
    bfloat16: float | None,
    float32: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: name)  # a GPU that CI has not
    gpu = torch.device("cuda", 0)
    assert peak_flops(gpu, torch.bfloat16) == pytest.approx(bfloat16)
    assert peak_flops(gpu, torch.float32) == pytest.approx(float32)


def test_the_peak_rate_of_a_cpu_is_not_known() -> None:
    assert peak_flops(torch.device("cpu"), torch.float32) is None


def test_threads_share_what_is_large_enough_and_come_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for width, threads in ((10, 1), (3200, 2)):
            with threads_for_one_token(torch.nn.Linear(width, width, device="meta")):
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
