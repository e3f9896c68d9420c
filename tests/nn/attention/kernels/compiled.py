"""Compiles every kernel for GPUs that need not be there; prints what the compiler made of each.

A program of its own: in a process where kernels are interpreted they cannot be compiled.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from adaspan.nn.attention.kernels import TILE, backward, forward
from adaspan.nn.attention.kernels.sizes import Size, sizes_for

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
FLAGS = ("POSITIONED", "SCORED", "MASKED", "DYNAMIC", "DROPOUT", "STORES")
FLOATS = ("ramp", "scale", "natural_scale", "keep")
FLOAT32 = (
    "REACH",
    "SPAN",
    "LOG_SUM",
    "D_LOG_SUM",
    "D_SPAN",
    "DELTA",
    "D_POSITION",
    "D_QUERY_BY_CONTENT",
)
INT32 = ("WINDOWS", "ORDER", "WIDTHS", "STARTS", "SEED")


def compiled(kernel: Any, size: Size, capability: int, dtype: str, head_dim: int) -> dict[str, Any]:
    """What one kernel needs, as the layer of a model calls it: with mask, positions and dropout."""
    constants: dict[str, Any] = {
        "D": head_dim,
        "DP": triton.next_power_of_2(head_dim),
        "BM": TILE,
        "BN": size.columns,
        "BX": size.columns,
        "PRECISION": "tf32",
        **dict.fromkeys(FLAGS, True),
    }
    signature, own, divisible = {}, {}, {}
    name = kernel.fn.__name__
    for place, argument in enumerate(kernel.arg_names):
        by_sixteen = True
        if argument in constants:
            signature[argument] = "constexpr"
            own[argument] = constants[argument]
            continue
        if argument in FLOATS:
            signature[argument], by_sixteen = "fp32", False
        elif argument == "threshold":
            signature[argument], by_sixteen = "i64", False
        elif argument in ("H", "L", "M", "B") or not argument.isupper():
            signature[argument] = "i32"
            by_sixteen = re.fullmatch("[a-z_]+_[bhmc]", argument) is not None
        elif argument == "WIDEST":
            signature[argument] = "i32"
        elif argument in INT32:
            signature[argument] = "*i32"
        elif argument in FLOAT32 or (name, argument) == ("query_gradient", "D_QUERY"):
            signature[argument] = "*fp32"
        elif argument == "SCORES":
            signature[argument] = "*fp16" if dtype == "bf16" else "*fp32"
        else:
            signature[argument] = f"*{dtype}"
        if by_sixteen:
            divisible[(place,)] = [["tt.divisibility", 16]]
    made = triton.compile(
        ASTSource(kernel, signature, own, divisible),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": size.warps, "num_stages": size.stages},
    )
    text = made.asm["ptx"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        resources = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        "kernel": name,
        "spilled": int(re.search(r"STACK:(\d+)", resources)[1]),  # type: ignore[index]
        "shared": made.metadata.shared,
        "atomics": len(re.findall(r"\b(?:atom|red)\.", text)),
        "loads of 2 bytes": len(re.findall(r"ld\.global[.\w:]*\.b16", text)),
        "loads of 16 bytes": len(re.findall(r"cp\.async\.cg|ld\.global[.\w:]*\.v4\.b32", text)),
    }


def main() -> None:
    capability, dtype, head_dim = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    of_torch = {"bf16": torch.bfloat16, "fp32": torch.float32}[dtype]
    sizes = sizes_for(head_dim, of_torch, (capability // 10, capability % 10))
    for name, size in sizes._asdict().items():
        kernel = getattr(forward, name, None) or getattr(backward, name)
        print(json.dumps(compiled(kernel, size, capability, dtype, head_dim)))


if __name__ == "__main__":
    main()
