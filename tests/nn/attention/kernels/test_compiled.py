"""What the compiler makes of the kernels, for GPUs that this machine does not have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "compiled.py"
KERNELS = 6
# Bytes a block may have.
A100, GEFORCE = 163 * 1024, 99 * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    ("capability", "dtype", "head_dim", "room"),
    [
        (90, "bf16", 64, GEFORCE),
        (90, "fp32", 128, A100),
        (80, "bf16", 64, GEFORCE),
    ],
)
def test_kernels_fit_their_gpu_and_add_in_one_order(
    capability: int, dtype: str, head_dim: int, room: int, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, PROGRAM, str(capability), dtype, str(head_dim)],
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert not result.returncode, result.stderr
    kernels = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(kernels) == KERNELS
    for kernel in kernels:
        assert not kernel["spilled"], kernel
        assert not kernel["atomics"], kernel
        assert kernel["shared"] <= room, kernel
        assert kernel["loads of 2 bytes"] == 0, kernel
        assert kernel["loads of 16 bytes"] > 0, kernel
