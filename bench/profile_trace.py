"""Make a Chrome trace of a given size as torch's profiler writes them: steps, layers, operators, launches, kernels.

Usage: python bench/profile_trace.py OUT.json [--mb 500] [--absolute] [--gap-us 8]

About 235 bytes an event and one kernel in five events, as in the traces this was modelled on: per launch a CPU
operator, a runtime call, a kernel and the two ends of the arrow between them; per step vLLM's annotation and that of
torch's profiling schedule. Deterministic. `--absolute` writes Unix
microseconds, which no float64 holds to the nanosecond.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

KERNELS = [
    ("void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8>(Params)", 41, 7),
    ("void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4>, false>(Flash_fwd_params)", 25, 7),
    ("void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(c10::BFloat16*, long, float, int)", 6, 7),
    ("void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel<c10::BFloat16>, true>(c10::BFloat16*)", 5, 7),
    ("void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*, c10::BFloat16*)", 3, 7),
    ("void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16>(__nv_bfloat16 const*)", 3, 7),
    ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>>(int)", 2, 7),
    ("void fused_moe_kernel_bf16_128x64x32(__nv_bfloat16 const*, __nv_bfloat16 const*)", 60, 7),
    ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", 35, 20),
]
OPERATORS = [
    "aten::mm",
    "vllm::unified_attention",
    "_C::fused_add_rms_norm",
    "_C::silu_and_mul",
    "_C::rotary_embedding",
]
OPERATORS += ["_C_cache_ops::reshape_and_cache_flash", "aten::add", "vllm::moe_forward", "c10d::allreduce_"]


def make(target: Path, size: int, *, absolute: bool = False, gap_us: float = 8.0) -> int:
    """Write the trace; the number of events."""
    chance = random.Random(12)
    now = 1763600000000050.5 if absolute else 4328559894.449
    base = int(now) * 1000
    host, written, events, link = 0, 0, 0, 0
    device: dict[int, int] = {7: 0, 20: 0}

    def at(ns: int) -> str:
        whole = base + ns
        return f"{whole // 1000}.{whole % 1000:03d}"

    with target.open("w", encoding="utf-8") as out:
        written += out.write(
            '{\n  "schemaVersion": 1,\n'
            '  "deviceProperties": [{"id": 0, "name": "Device", "totalGlobalMem": 85000000000}],\n'
            '  "distributedInfo": {"backend": "nccl", "rank": 0, "world_size": 2},\n  "traceEvents": [\n'
        )
        written += out.write(
            '  {"ph": "M", "name": "process_name", "ts": 0, "pid": 1, "tid": 0, "args": {"name": "python"}}'
        )
        step = 0
        while written < size:
            lines = []
            begin = host
            for layer in range(32):
                for which, (kernel, us, stream) in enumerate(KERNELS):
                    link += 1
                    dur = int(us * 1000 * (0.8 + 0.4 * chance.random()))
                    host += 9_000 + int(gap_us * 1000 * chance.random())
                    launch = host + 3000
                    kernel_at = max(launch + 4000, device[stream], device[7] - 9000 if stream == 20 else 0)
                    device[stream] = kernel_at + dur
                    lines.append(
                        f',\n  {{\n    "ph": "X", "cat": "cpu_op", "name": "{OPERATORS[which]}", "pid": 1, "tid": 1,\n'
                        f'    "ts": {at(host)}, "dur": 8.{chance.randrange(1000):03d},\n    "args": {{\n'
                        f'      "External id": {link},"Ev Idx": {link}, "Sequence number": {layer}\n    }}\n  }}'
                        f',\n  {{\n    "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", '
                        f'"pid": 1, "tid": 1,\n'
                        f'    "ts": {at(launch)}, "dur": 4.217,\n    "args": {{\n'
                        f'      "External id": {link}, "cbid": 211, "correlation": {link}\n    }}\n  }}'
                        f',\n  {{\n    "ph": "s", "id": {link}, "pid": 1, "tid": 1, "ts": {at(launch)},\n'
                        f'    "cat": "ac2g", "name": "ac2g"\n  }}'
                        f',\n  {{\n    "ph": "X", "cat": "kernel", "name": "{kernel}", "pid": 0, "tid": {stream},\n'
                        f'    "ts": {at(kernel_at)}, "dur": {dur // 1000}.{dur % 1000:03d},\n    "args": {{\n'
                        f'      "External id": {link}, "queued": 0, "device": 0, "context": 1, "stream": {stream},\n'
                        f'      "correlation": {link}, "registers per thread": 128, "shared memory": 49152,\n'
                        f'      "blocks per SM": 3.2, "grid": [{32 + layer}, 4, 1], "block": [128, 1, 1],\n'
                        f'      "est. achieved occupancy %": 31\n    }}\n  }}'
                        f',\n  {{\n    "ph": "f", "id": {link}, "pid": 0, "tid": {stream}, "ts": {at(kernel_at)},\n'
                        f'    "cat": "ac2g", "name": "ac2g", "bp": "e"\n  }}'
                    )
                    events += 5
            # The sampler's result goes back to the host: the device stands still until the next step is scheduled.
            host = max(host, device[7], device[20]) + 300_000
            kind = "execute_context_0(0)_generation_8(8)" if step % 16 else "execute_context_2(512)_generation_6(6)"
            lines.append(
                f',\n  {{\n    "ph": "X", "cat": "user_annotation", "name": "{kind}", "pid": 1, "tid": 1,\n'
                f'    "ts": {at(begin)}, "dur": {(host - begin - 250_000) / 1000:.3f},\n    "args": {{\n'
                f'      "External id": {link}\n    }}\n  }}'
            )
            lines.append(
                f',\n  {{\n    "ph": "X", "cat": "user_annotation", "name": "ProfilerStep#{step}", '
                f'"pid": 1, "tid": 1,\n'
                f'    "ts": {at(begin)}, "dur": {(host - begin - 1000) / 1000:.3f},\n    "args": {{\n'
                f'      "External id": {link}\n    }}\n  }}'
            )
            events += 2
            step += 1
            written += out.write("".join(lines))
        out.write('\n  ],\n  "traceName": "generated"\n}\n')
    return events


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mb", type=float, default=500)
    parser.add_argument("--absolute", action="store_true")
    parser.add_argument("--gap-us", type=float, default=8.0)
    given = parser.parse_args()
    events = make(given.out, int(given.mb * 1e6), absolute=given.absolute, gap_us=given.gap_us)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.0f} MB, {events} events")
    return 0


if __name__ == "__main__":
    sys.exit(main())
