"""The engine's own KV cache spec and parameters of a model, per rank; no weights, no device. The estimate's oracle.

Request: `{"folder", "layouts": [{"tp", "pp", "rank", "ep"}], "memory": [bytes], "engine_args": {...}, "kv": true}`.
Answer: `{"engine", "platform", "layouts": [...]}`; each layout has its parameters as `[name, shape, dtype, bytes]`, the
buffers' bytes, the KV cache spec layer by layer (class, block size, page bytes and the fields that make it), the
groups,
and for each figure of `memory` the blocks, tokens and concurrency that the engine itself computes. A layout that fails
holds `{"error": {"stage", "type", "message"}}`. Every layout is built in a forked child, the engine imported once;
how a
rank without a device is arranged is the dry run's (`dry_arrange.py`).
Longer than 250 lines: a probe is one file, and half of it stands in for what only a device has.
"""

import importlib.util
import os
import sys


def dry():
    """The dry run's module, whose helpers find each other through it."""
    name = "seatrial_probe_dry"
    if name not in sys.modules:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dry.py")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def probe(request, progress):
    arrange = dry().sibling("dry_arrange")
    arrange.quiet_environment(request)
    os.environ.update(request.get("env") or {})
    if "vllm" not in sys.modules:
        progress("importing the engine")
    answer = {"platform": arrange.import_engine(request), "engine": arrange.engine_facts(), "layouts": []}
    for layout in request["layouts"]:
        result = isolated(lambda tell, layout=layout: tell(one(request, layout)))
        answer["layouts"].append({"layout": layout, **result})
        progress("tp {} pp {} rank {}".format(layout["tp"], layout.get("pp", 1), layout.get("rank", 0)))
    return answer


def isolated(work):
    """Run `work(tell)` in a forked child; what it tells, or how the child ended."""
    import marshal

    receive, send = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(receive)

            def tell(document):
                with os.fdopen(os.dup(send), "wb") as stream:
                    stream.write(marshal.dumps(document))

            try:
                work(tell)
            except Exception as exc:
                import traceback

                traceback.print_exc()
                tell({"error": {"stage": STAGE[0], "type": type(exc).__name__, "message": str(exc)[:2000]}})
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(send)
    with os.fdopen(receive, "rb") as stream:
        data = stream.read()
    _, status = os.waitpid(pid, 0)
    if not data:
        code = os.waitstatus_to_exitcode(status)
        return {"error": {"stage": "crash", "type": "exit", "message": f"the child ended with {code}"}}
    return marshal.loads(data)  # noqa: S302 - written by our own child a moment ago


STAGE = ["configure"]


def one(request, layout):
    arrange = dry().sibling("dry_arrange")
    from vllm.config import set_current_vllm_config

    job = {**request, "tp": layout["tp"], "pp": layout.get("pp", 1), "ep": layout.get("ep", False)}
    config = arrange.engine_config(job)
    STAGE[0] = "parallel"
    with set_current_vllm_config(config, check_compile=False):
        arrange.place_rank(config, job, layout.get("rank", 0))
    arrange.answer_kernels()
    answer_sparse(arrange)
    answer_platform(arrange)
    if layout.get("pp", 1) > 1 or layout["tp"] > 1:
        config.model_config.verify_with_parallel_config(config.parallel_config)
    STAGE[0] = "build"
    model = build(config)
    answer = {
        "parameters": parameters(model),
        "placeholders": dict(arrange.PLACEHOLDERS),
        "dtype": str(config.model_config.dtype).replace("torch.", ""),
    }
    if request.get("kv", True):
        try:
            answer["kv"] = kv(config, request.get("memory") or [])
        except Exception as exc:
            import traceback

            traceback.print_exc()
            answer["kv_error"] = {"stage": STAGE[0], "type": type(exc).__name__, "message": str(exc)[:2000]}
    return answer


SPARSE = "vllm.v1.attention.backends.mla.flashmla_sparse.FlashMLASparseBackend"


def answer_sparse(arrange):
    """Where the platform has no sparse attention, an engine's own sparse backend stands for it: only its spec is
    read.
    """
    from vllm.platforms import current_platform

    kind = type(current_platform)
    real = kind.get_attn_backend_cls

    def choose(cls, *args, **kwargs):
        try:
            return real(*args, **kwargs)
        except NotImplementedError as exc:
            arrange.PLACEHOLDERS.setdefault("get_attn_backend_cls", f"{exc} ({SPARSE} stands in)")
            return SPARSE

    kind.get_attn_backend_cls = classmethod(choose)


def answer_platform(arrange):
    """What else only a device has; each use of a stand-in is in the answer's placeholders."""
    import torch

    told = arrange.PLACEHOLDERS
    try:
        from vllm.v1.worker.workspace import init_workspace_manager

        init_workspace_manager(torch.device("meta"))
    except Exception as exc:
        told.setdefault("init_workspace_manager", f"{type(exc).__name__}: {exc}")
    if not torch.cuda.is_available():

        class Event:
            def __init__(self, *args, **kwargs):
                told.setdefault("torch.cuda.Event", "no CUDA here; an empty class stands in")

        torch.cuda.Event = Event
        torch.accelerator.empty_cache = lambda: None
    move = torch.nn.Module.to

    def to(module, *args, **kwargs):
        try:
            return move(module, *args, **kwargs)
        except NotImplementedError as exc:
            if "meta tensor" not in str(exc):
                raise
            told.setdefault("Module.to", "moves nothing on meta")
            return module

    torch.nn.Module.to = to
    from vllm.model_executor.layers.fused_moe import config as moe

    platform = moe.current_platform

    class Permissive:
        """The platform, but for one question: whether experts without a gate projection can run."""

        def __getattr__(self, name):
            if name == "is_xpu" and not platform.is_cuda_alike() and ungated():
                told.setdefault("is_act_and_mul", "experts without a gate have no kernel here; only shapes are read")
                return lambda: True
            return getattr(platform, name)

    moe.current_platform = Permissive()
    real_expert_maps()


def real_expert_maps():
    """Which experts a rank holds is worked out with values, which meta tensors do not have: on the CPU then."""
    import functools

    import torch

    try:
        from vllm.model_executor.layers.fused_moe.expert_map_manager import ExpertMapManager
    except ImportError:
        return

    def on_cpu(method):
        @functools.wraps(method)
        def run(self, *args, **kwargs):
            with torch.device("cpu"):
                return method(self, *args, **kwargs)

        return run

    for name in ("__init__", "get_compressed_map_string", "update"):
        if hasattr(ExpertMapManager, name):
            setattr(ExpertMapManager, name, on_cpu(getattr(ExpertMapManager, name)))


def ungated():
    """Whether the caller's caller is the configuration object that asks about experts without a gate."""
    frame = sys._getframe(2)
    return frame.f_code.co_name == "__post_init__" and not getattr(frame.f_locals.get("self"), "is_act_and_mul", True)


def build(config):
    import torch
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.utils.torch_utils import set_default_torch_dtype

    dtype = config.model_config.dtype
    context = set_current_vllm_config(config, check_compile=False)
    with set_default_torch_dtype(dtype), torch.device("meta"), context:
        return initialize_model(config)


def parameters(model):
    """Parameters, each storage once (a tied head is its embedding)."""
    rows = []
    seen = set()
    for name, tensor in model.named_parameters(remove_duplicate=False):
        key = tensor.untyped_storage()._cdata
        if key in seen:
            continue
        seen.add(key)
        dtype = str(tensor.dtype).replace("torch.", "")
        rows.append([name, list(tensor.shape), dtype, tensor.numel() * tensor.element_size()])
    return rows


def kv(config, memory):
    from vllm.config import set_current_vllm_config
    from vllm.platforms import current_platform
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

    STAGE[0] = "kv"
    try:
        from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs

        register_all_kvcache_specs(config)
    except ImportError:
        pass
    with set_current_vllm_config(config, check_compile=False):
        current_platform.update_block_size_for_backend(config)
        specs = get_kv_cache_spec(config)
    before = {name: describe(spec) for name, spec in specs.items()}
    cache, scheduler = config.cache_config, config.scheduler_config
    answer = {
        "layers": before,
        "block_size": cache.block_size,
        "mamba_block_size": cache.mamba_block_size or 0,
        "mamba_cache_mode": str(getattr(cache, "mamba_cache_mode", "")),
        "prefix_caching": bool(cache.enable_prefix_caching),
        "cache_dtype": str(cache.cache_dtype),
        "max_model_len": config.model_config.max_model_len,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "max_num_seqs": scheduler.max_num_seqs,
        "max_in_flight_tokens": config.max_in_flight_tokens,
        "hybrid_disabled": bool(scheduler.disable_hybrid_kv_cache_manager),
        "capacity": [],
    }
    try:
        capacity(config, specs, memory, answer)
    except Exception as exc:
        import traceback

        traceback.print_exc()
        answer["capacity_error"] = f"{STAGE[0]}: {type(exc).__name__}: {str(exc)[:2000]}"
    return answer


def capacity(config, specs, memory, answer):
    """The engine's own figures for each amount of memory, after its choice of a layout."""
    from vllm.v1.attention.backends.utils import get_supported_kv_cache_layouts, resolve_kv_cache_layout
    from vllm.v1.core import kv_cache_utils

    cache = config.cache_config
    STAGE[0] = "layout"
    backends = {layer.get_attn_backend() for layer in attention_layers(config).values()}
    names = [layout.name for layout in get_supported_kv_cache_layouts(backends)]
    layout = resolve_kv_cache_layout(config, [names], list(specs.values()))
    cache.kv_cache_layout = layout.name
    answer["kv_layout"] = layout.name
    STAGE[0] = "groups"
    for figure in memory:
        try:
            made = kv_cache_utils.get_kv_cache_configs(config, [dict(specs)], [figure])[0]
            scheduled = kv_cache_utils.generate_scheduler_kv_cache_config([made])
            tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(config, scheduled)
            answer["capacity"].append(
                {
                    "memory": figure,
                    "blocks": made.num_blocks,
                    "tokens": tokens,
                    "concurrency": concurrency,
                    "groups": [
                        {"layers": len(g.layer_names), **describe(g.kv_cache_spec)} for g in scheduled.kv_cache_groups
                    ],
                }
            )
        except Exception as exc:
            answer["capacity"].append({"memory": figure, "refused": str(exc)[:2000]})


def attention_layers(config):
    from vllm.config import get_layers_from_vllm_config
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase

    return get_layers_from_vllm_config(config, AttentionLayerBase)


FIELDS = ("num_kv_heads", "head_size", "head_size_v", "sliding_window", "attention_chunk_size", "page_size_padded")


def describe(spec):
    """A spec as plain data."""
    row = {"kind": type(spec).__name__, "block_size": spec.block_size, "page_bytes": spec.page_size_bytes}
    for field in FIELDS:
        value = getattr(spec, field, None)
        if value is not None:
            row[field] = int(value)
    if getattr(spec, "dtype", None) is not None:
        row["dtype"] = str(spec.dtype).replace("torch.", "")
    if getattr(spec, "shapes", None) is not None:
        row["shapes"] = [list(shape) for shape in spec.shapes]
        row["dtypes"] = [str(dtype).replace("torch.", "") for dtype in spec.dtypes]
    if getattr(spec, "tokens_per_state", 1) != 1:
        row["tokens_per_state"] = float(spec.tokens_per_state)
    return row
