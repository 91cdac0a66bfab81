"""A real load to hold the dry run against: the engine's own loader, real files, then every parameter is compared.

Request: `{"folder": PATH, "engine_args": {...}}`. The model is built at TP 1 on the host and every parameter is filled
with a mark; the engine's loader reads the files; then each checkpoint tensor's bytes, cast to the parameter's dtype,
are looked for in the parameters, whole, by rows, or by rows of its transpose. Nothing of the dry run's own tracking is
used, so that the two can disagree. A kernel that this machine lacks is answered by a placeholder (`placeholders` says
which), as weights can be loaded without it.
Answer: `refused` (stage, error) or `parameters` and `tensors`, see `compare`.
"""

import gc
import json
import os
import sys
import tempfile
import time
import traceback

MARK = 0xA5  # every byte of a parameter that nothing wrote
MARKED_RUN = 16  # bytes; what no tensor filled is a row at least, or the whole parameter
SMALL = 4  # tensors of so few elements are looked for in small parameters only: in a large one they occur by chance


def sibling(name):
    """The helper `name.py` beside this file, loaded once (as in dry.py, whose helpers are shared)."""
    import importlib.util

    full = "seatrial_probe_" + name
    if full not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec = importlib.util.spec_from_file_location(full, path)
        sys.modules[full] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[full]


def probe(request, progress):
    sibling("dry")
    arrange = sibling("dry_arrange")
    arrange.quiet_environment(request)
    arrange.import_engine(request)
    gc.collect()
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "answer")
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            child(path, request, scratch)
        _, status = os.waitpid(pid, 0)
        if not os.path.exists(path):
            return {"refused": {"stage": "crashed", "error": f"exit {os.waitstatus_to_exitcode(status)}"}}
        with open(path) as stream:
            return json.load(stream)


def child(path, request, scratch):
    try:
        answer = load(request, scratch)
        with open(path, "w") as stream:
            json.dump(answer, stream)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def load(request, scratch):
    import torch
    from vllm.config import set_current_vllm_config
    from vllm.distributed import parallel_state
    from vllm.model_executor.model_loader import get_model_loader
    from vllm.model_executor.model_loader.utils import initialize_model, process_weights_after_loading

    torch.set_num_threads(1)  # a forked process has none of its parent's threads to wait for
    stage = "configure"
    began = time.monotonic()
    answer = {}
    try:
        arguments = {**(request.get("engine_args") or {}), "load_format": "safetensors"}
        config = sibling("dry_arrange").engine_config({"folder": request["folder"], "engine_args": arguments})
        stage = "build"
        with set_current_vllm_config(config):
            parallel_state.init_distributed_environment(
                world_size=1, rank=0, local_rank=0, distributed_init_method=f"file://{scratch}/group", backend="gloo"
            )
            parallel_state.initialize_model_parallel(1, 1)
            with sibling("dry_arrange").default_dtype(config.model_config.dtype), torch.device("cpu"):
                sibling("dry_arrange").answer_kernels()
                model = initialize_model(config)
                designs = mark(model)
                stage = "load"
                get_model_loader(config.load_config).load_weights(model, config.model_config)
                answer = compare(model, request["folder"], designs)
                answer["placeholders"] = dict(sibling("dry_arrange").PLACEHOLDERS)
                stage = "process"
                if not answer["placeholders"]:
                    process_weights_after_loading(model, config.model_config, torch.device("cpu"))
        answer["refused"] = None
    except Exception as exc:
        traceback.print_exc()
        line = type(exc).__name__ + ": " + " ".join(str(exc).split())[:300]
        answer["refused"] = {"stage": stage, "error": line}
    answer["seconds"] = time.monotonic() - began
    return answer


def mark(model):
    """Fill every parameter with MARK; answers name -> why the engine lets it be empty ("" if it does not)."""
    import torch

    describe = sibling("dry_model")
    designs = {}
    for name, tensor, is_parameter, module, leaf in describe.tensors_of(model):
        if not is_parameter:
            continue
        method = getattr(module, "quant_method", None)
        designs[name] = describe.design_of(module, method, tensor, leaf)
        if tensor.numel() and not designs[name]:
            tensor.data.reshape(-1).view(torch.uint8).fill_(MARK)
    return designs


def bytes_of(tensor):
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def compare(model, folder, designs):
    """`parameters`: name -> elements, and how many are covered by checkpoint values, zero (padding), still marked, or
    other. `tensors`: name -> the parameters in which its values were found (none: they are nowhere in the model)."""
    import numpy
    from safetensors import safe_open

    held, masks, seen, rows = {}, {}, {}, {}
    for name, tensor, is_parameter, _, _ in sibling("dry_model").tensors_of(model):
        if not is_parameter or tensor.numel() == 0 or tensor.data_ptr() in seen:
            continue
        seen[tensor.data_ptr()] = name
        held[name] = (tensor.dtype, tensor.element_size(), bytes_of(tensor))
        masks[name] = numpy.zeros(len(held[name][2]), dtype=bool)
    tensors = {}
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".safetensors"):
            continue
        with safe_open(os.path.join(folder, file), framework="pt") as stream:
            for name in stream.keys():  # noqa: SIM118 - not a mapping
                tensors[name] = place(stream.get_tensor(name), held, masks)
    for name, (_, size, data) in held.items():
        values = numpy.frombuffer(data, dtype=numpy.uint8)
        rest = values[~masks[name]].reshape(-1, size)
        marked = int(untouched(values, masks[name])[~masks[name]].reshape(-1, size).all(axis=1).sum())
        zero = int((rest == 0).all(axis=1).sum())
        rows[name] = {
            "elements": len(data) // size,
            "covered": int(masks[name].sum()) // size,
            "padding": zero,
            "unfilled": marked,
            "changed": len(rest) - marked - zero,
            "design": designs.get(name, ""),
        }
    return {"parameters": rows, "tensors": tensors}


def untouched(values, mask):
    """The bytes that still hold MARK: in runs only, as one value in 256 of a one-byte parameter equals it by chance."""
    import numpy

    marked = (values == MARK) & ~mask
    edges = numpy.flatnonzero(numpy.diff(numpy.concatenate(([0], marked.view(numpy.int8), [0]))))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < min(MARKED_RUN, len(values)):
            marked[begin:end] = False
    return marked


def place(tensor, held, masks):
    """The parameters that hold this tensor's values; what was found is marked as covered."""
    found = []
    cast = {}
    for name, (dtype, size, data) in held.items():
        if tensor.numel() > len(data) // size or (tensor.numel() <= SMALL and len(data) // size > 4096):
            continue
        if tensor.dtype.is_floating_point != dtype.is_floating_point and tensor.dtype != dtype:
            continue
        if dtype not in cast:
            cast[dtype] = tensor.to(dtype)
        if whole(cast[dtype], data, size, masks[name]) or by_rows(cast[dtype], data, size, masks[name]):
            found.append(name)
    return found


def aligned(data, needle, start, size):
    at = data.find(needle, start)
    while at >= 0 and at % size:
        at = data.find(needle, at + 1)
    return at


def whole(tensor, data, size, mask):
    needle = bytes_of(tensor)
    at = aligned(data, needle, 0, size)
    if at < 0:
        return False
    mask[at : at + len(needle)] = True
    return True


def by_rows(tensor, data, size, mask):
    """Rows in order, with gaps (fused along the last dimension), of the tensor or of its transpose."""
    if tensor.dim() < 2 or tensor.numel() <= SMALL:
        return False
    for turned in (tensor, tensor.transpose(-1, -2)):
        length = turned.shape[-1] * size
        lines = bytes_of(turned)
        spots, at = [], 0
        for start in range(0, len(lines), length):
            at = aligned(data, lines[start : start + length], at, size)
            if at < 0:
                break
            spots.append(at)
            at += length
        else:
            for at in spots:
                mask[at : at + length] = True
            return True
    return False
