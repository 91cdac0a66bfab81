"""What must be arranged so that an engine builds a model for any rank without a device: one adapter per version range.

An adapter (`dry_adapter_*.py`, one file per version) names the functions that are answered. A version that no adapter
was proven on is tried with the newest one that is not newer than it, and reported (`adapter_proven` false). A function
that an adapter names and the engine lacks is reported too, not passed over silently.
"""

import os
import re
import sys

NOTES = []  # what happened while arranging, for the answer
ANSWERED = []
PLACEHOLDERS = {}  # function -> the platform's own refusal


def quiet_environment(request):
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        VLLM_NO_USAGE_STATS="1",
        DO_NOT_TRACK="1",
        TOKENIZERS_PARALLELISM="false",
    )
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


def adapters():
    """All adapters, oldest first."""
    folder = os.path.dirname(os.path.abspath(__file__))
    names = [name[:-3] for name in os.listdir(folder) if re.fullmatch(r"dry_adapter_\d+_\d+\.py", name)]
    found = [sys.modules["seatrial_probe_dry"].sibling(name).ADAPTER for name in names]
    return sorted(found, key=lambda one: one["first"])


def choose_adapter(version):
    """The newest adapter that is not newer than `version` (the oldest, if all are), and whether it is proven on it."""
    numbers = re.match(r"(\d+)\.(\d+)(\.\d+)?", version)
    known = adapters()
    if numbers is None:
        return known[-1], False
    series = (int(numbers[1]), int(numbers[2]))
    fit = [one for one in known if one["first"] <= series] or known[:1]
    return fit[-1], numbers[0] in fit[-1]["proven"]


def adapter():
    import vllm

    return choose_adapter(getattr(vllm, "__version__", ""))


def import_engine(request):
    """Import what every rank needs, before any fork. Returns facts about the platform."""
    import importlib

    stubs = request.get("stubs")
    if stubs:
        sys.modules["seatrial_probe_dry"].sibling("dry_stubs").install(stubs, request.get("plugin_root") or "")
    for name in (
        "torch.distributed",
        "torch.testing._internal.distributed.fake_pg",
        "vllm.distributed.parallel_state",
        "vllm.engine.arg_utils",
        "vllm.model_executor.model_loader.utils",
        "vllm.model_executor.models.registry",
    ):
        importlib.import_module(name)
    from vllm.platforms import current_platform

    # The engine looks at a model class in a fresh interpreter, to keep CUDA out of this one; there is none here, and
    # a second import of the engine would cost as much as the whole dry run.
    registry = sys.modules["vllm.model_executor.models.registry"]
    everywhere(registry, "_run_in_subprocess", lambda function: function())
    # Metadata for reloading weights into a live server: a third of the build, and nothing is reloaded here.
    loader = sys.modules["vllm.model_executor.model_loader.utils"]
    everywhere(loader, "record_metadata_for_reloading", lambda model: None)
    return {
        "device_type": current_platform.device_type or "",
        "class": type(current_platform).__module__ + "." + type(current_platform).__qualname__,
    }


def engine_facts():
    import torch
    import transformers
    import vllm

    chosen, proven = adapter()
    return {
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "adapter": chosen["name"],
        "adapter_proven": proven,
    }


def engine_config(request):
    """The engine's own configuration for this folder, at one rank; `place_rank` sets the parallel sizes afterwards."""
    from vllm.engine.arg_utils import EngineArgs

    arguments = {
        "model": request["folder"],
        "tokenizer": request["folder"],
        "tensor_parallel_size": 1,
        "load_format": "dummy",
        "skip_tokenizer_init": True,
        "enforce_eager": True,
        "trust_remote_code": bool(request.get("trust_remote_code")),
    }
    for key in ("dtype", "quantization", "max_model_len"):
        if request.get(key):
            arguments[key] = request[key]
    if request.get("ep"):
        arguments["enable_expert_parallel"] = True
    if request.get("target"):
        # A draft is configured beside its target; an MTP draft is the last layers of the target's own checkpoint.
        own = os.path.realpath(request["target"]) == os.path.realpath(request["folder"])
        draft = {"method": "mtp"} if own else {"model": request["folder"]}
        if request.get("draft_method"):
            draft["method"] = request["draft_method"]
        arguments.update(model=request["target"], tokenizer=request["target"])
        arguments["speculative_config"] = {**draft, "num_speculative_tokens": 1}
    arguments.update(request.get("engine_args") or {})
    made = EngineArgs(**arguments)
    try:
        # Defaults depend on who asks; `vllm serve` is whom the dry run stands for.
        from vllm.usage.usage_lib import UsageContext

        return made.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
    except ImportError:
        return made.create_engine_config()


def built_model(config):
    """The configuration of the model that is built: the draft's, where the request names a target."""
    speculative = config.speculative_config
    return config.model_config if speculative is None else speculative.draft_model_config


def config_facts(config):
    model = built_model(config)
    return {
        "architecture": str(getattr(model, "architecture", "") or (model.architectures or [""])[0]),
        "dtype": str(model.dtype).replace("torch.", ""),
        "quantization": str(model.quantization or ""),
        "quantization_class": type(config.quant_config).__module__ + "." + type(config.quant_config).__qualname__
        if config.quant_config is not None
        else "",
    }


def default_dtype(dtype):
    """vLLM's context of a default dtype; it moved after 0.11."""
    try:
        from vllm.utils.torch_utils import set_default_torch_dtype
    except ImportError:
        from vllm.model_executor.model_loader.utils import set_default_torch_dtype
    return set_default_torch_dtype(dtype)


def place_rank(config, request, rank):
    """Give the configuration and torch's (fake) process group this rank of tp x pp; runs in the forked child."""
    import torch
    import torch.distributed
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from vllm.distributed import parallel_state

    if request.get("stubs"):
        sys.modules["seatrial_probe_dry"].sibling("dry_stubs").worker_setup(request["stubs"], config, "before")
    tp, pp = request["tp"], request["pp"]
    parallel = config.parallel_config
    parallel.tensor_parallel_size = tp
    parallel.pipeline_parallel_size = pp
    parallel.world_size = tp * pp
    parallel.rank = rank
    if hasattr(parallel, "disable_custom_all_reduce"):
        parallel.disable_custom_all_reduce = True
    store = FakeStore()
    torch.distributed.init_process_group(backend="fake", rank=rank, world_size=tp * pp, store=store)
    make = torch.distributed.new_group

    def new_group(*args, **kwargs):
        kwargs["backend"] = "fake"
        kwargs.pop("timeout", None)
        kwargs.pop("pg_options", None)  # a plugin's own, for a backend that does not exist here
        return make(*args, **kwargs)

    torch.distributed.new_group = new_group
    torch.distributed.barrier = lambda *a, **k: None
    everywhere(parallel_state, "in_the_same_node_as", lambda pg, source_rank=0: [True] * size_of(pg))
    everywhere(parallel_state, "_node_count", lambda pg: 1)
    no_message_queues()
    plain_communicator()
    parallel_state.init_distributed_environment(
        world_size=tp * pp, rank=rank, local_rank=rank, distributed_init_method="env://", backend="fake"
    )
    parallel_state.initialize_model_parallel(tp, pp)
    if request.get("stubs"):
        sys.modules["seatrial_probe_dry"].sibling("dry_stubs").worker_setup(request["stubs"], config, "after")


def size_of(group):
    import torch.distributed

    # vLLM's StatelessProcessGroup carries its own size; torch knows that of all others.
    size = getattr(group, "world_size", None)
    return size if isinstance(size, int) else torch.distributed.get_world_size(group)


def no_message_queues():
    from vllm.distributed.device_communicators import shm_broadcast

    shm_broadcast.MessageQueue.create_from_process_group = staticmethod(lambda *a, **k: None)


def plain_communicator():
    """Ranks that do not exist cannot share memory or a card: the engine's own base class stands for the device's."""
    from vllm.platforms import current_platform

    base = "vllm.distributed.device_communicators.base_device_communicator.DeviceCommunicatorBase"
    type(current_platform).get_device_communicator_cls = classmethod(lambda cls: base)


def warm(config):
    """Import the model's own modules before the forks, so that no rank pays for it."""
    import torch
    from vllm.model_executor.model_loader.utils import get_model_architecture

    get_model_architecture(built_model(config))
    answer_kernels()
    with torch.device("meta"):
        one = torch.empty(4, 4)
        one.narrow(0, 0, 2).copy_(torch.zeros(2, 4))


def everywhere(module, name, answer):
    """Replace a function in its module and wherever it was imported from there by name."""
    original = getattr(module, name, None)
    if original is None:
        NOTES.append(f"{module.__name__}.{name} is absent in this engine; its arrangement was not needed or has moved")
        return
    for other in list(sys.modules.values()):
        if getattr(other, "__dict__", {}).get(name) is original:
            setattr(other, name, answer)


class Placeholder:
    """Stands for a kernel that this platform does not have. It answers attribute reads and calls; it never computes."""

    def __init__(self, what):
        self._what = what
        self.__name__ = what  # a chooser of kernel types answers a class

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder(self._what + "." + name)

    def __call__(self, *args, **kwargs):
        return Placeholder(self._what + "()")

    def __bool__(self):
        return False

    def __iter__(self):
        return iter(())


def answer_kernels():
    """Let kernel choosers fall back to a placeholder where the platform has no kernel. Once per process."""
    import importlib

    if ANSWERED:
        return
    ANSWERED.append(True)
    keep_real_values()

    chosen, _ = adapter()
    for module_name, names in chosen["kernels"].items():
        try:
            module = importlib.import_module(module_name)
        except ImportError as exc:
            NOTES.append(f"{module_name}: {exc}")
            continue
        for name in names:
            if hasattr(module, name):
                everywhere(module, name, with_placeholder(name, getattr(module, name), None))
            else:
                NOTES.append(f"{module_name}.{name} is absent in this engine")
    for module_name, (name, backend) in chosen["moe"].items():
        try:
            module = importlib.import_module(module_name)
        except ImportError as exc:
            NOTES.append(f"{module_name}: {exc}")
            continue
        if hasattr(module, name):
            kinds = getattr(module, backend, None)
            everywhere(module, name, with_placeholder(name, getattr(module, name), kinds))
        else:
            NOTES.append(f"{module_name}.{name} is absent in this engine")


def keep_real_values():
    """Let the functions that the adapter lists in `real_values` make their tensors on the host instead of on meta."""
    import importlib

    import torch

    def on_host(function):
        def run(*args, **kwargs):
            with torch.device("cpu"):
                return function(*args, **kwargs)

        return run

    found = False
    for module_name, path in adapter()[0]["real_values"]:
        try:
            owner = importlib.import_module(module_name)
        except ImportError:
            continue
        *parents, name = path.split(".")
        for parent in parents:
            owner = getattr(owner, parent, None)
        function = getattr(owner, name, None)
        if function is not None:
            found = True
            if parents:
                setattr(owner, name, on_host(function))
            else:
                everywhere(owner, name, on_host(function))
    if not found:
        NOTES.append("no function that maps experts to ranks was found; expert parallelism may not be followed")


def with_placeholder(name, real, kinds):
    def choose(*args, **kwargs):
        try:
            return real(*args, **kwargs)
        except Exception as exc:
            PLACEHOLDERS.setdefault(name, type(exc).__name__ + ": " + " ".join(str(exc).split())[:500])
            if kinds is None:
                return Placeholder(name)
            return plain_backend(kinds), Placeholder(name)

    return choose


def plain_backend(kinds):
    """The backend whose weights stay as the checkpoint has them: Triton where there is one."""
    members = list(kinds)
    for member in members:
        if "TRITON" in member.name and "BATCHED" not in member.name:
            return member
    return members[0]
