"""Time by line of Python: of kernels through their launches, of operators through the frames around them."""

from __future__ import annotations

import pytest

from seatrial.measure.profile.code import NOBODY, is_own


def py(name, start, dur, tid=1):
    return (name, "python_function", 1, tid, start, dur)


LINEAR = "vllm/model_executor/layers/linear.py(321): forward"
MODEL = "vllm/model_executor/models/qwen3.py(100): forward"


def test_a_kernel_belongs_to_the_innermost_frame_of_ones_own_that_launched_it(write, answer):
    path = write(
        [
            py(MODEL, 1000, 900),
            py(LINEAR, 1100, 300),
            py("torch/nn/functional.py(20): linear", 1150, 200),
            ("cudaLaunchKernel", "cuda_runtime", 1, 1, 1200, 50, {"correlation": 7}),
            ("cudaLaunchKernel", "cuda_runtime", 1, 1, 1600, 50, {"correlation": 8}),
            ("gemm", "kernel", 0, 7, 5000, 700, {"correlation": 7}),
            ("add", "kernel", 0, 7, 6000, 100, {"correlation": 8}),
            ("lonely", "kernel", 0, 7, 7000, 200, {"correlation": 99}),
        ]
    )
    rows = answer(path).ranks[0].code
    assert [(r.file, r.line, r.total_ns, r.calls, r.mostly) for r in rows] == [
        ("vllm/model_executor/layers/linear.py", 321, 700, 1, "gemm"),
        (NOBODY, None, 200, 1, "lonely"),
        ("vllm/model_executor/models/qwen3.py", 100, 100, 1, "add"),
    ]
    assert sum(r.share for r in rows) == pytest.approx(1.0)


def test_without_a_device_the_operators_self_time_is_shared_out_by_thread(write, answer):
    path = write(
        [
            py(LINEAR, 1000, 500),
            ("aten::linear", "cpu_op", 1, 1, 1100, 300),
            ("aten::mm", "cpu_op", 1, 1, 1150, 100),
            ("aten::add", "cpu_op", 1, 2, 1100, 40),
        ]
    )
    rows = answer(path).ranks[0].code
    assert [(r.function, r.total_ns, r.calls, r.mostly) for r in rows] == [
        ("forward", 300, 2, "aten::linear"),
        ("", 40, 1, "aten::add"),
    ]


def test_a_trace_without_frames_has_no_lines(write, answer):
    assert answer(write([("k", "kernel", 0, 7, 1000, 10)])).ranks[0].code == ()


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("vllm/a.py", True),
        ("qwen3.py", True),
        ("torch/nn/modules/linear.py", False),
        ("/opt/lib/python3.11/site-packages/torch/_ops.py", False),
        ("contextlib.py", False),
        ("multiprocessing/queues.py", False),
        ("vllm/torch_utils.py", True),
    ],
)
def test_frames_of_torch_and_of_the_standard_library_are_nobodys_to_change(file, own):
    assert is_own(file) is own
