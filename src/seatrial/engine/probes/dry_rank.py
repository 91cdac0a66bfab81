"""One rank, in a forked child: build the model on meta, feed it the checkpoint's tensors, answer what went where."""

import base64
import math
import re
import resource
import sys
import time
import traceback
from array import array

MAX_FAILURES = 400
# vLLM's proposer gives a draft without them the target's (`_maybe_share_embeddings`, `_maybe_share_lm_head`).
SHARED_WITH_TARGET = [
    {
        "parameter": "weight",
        "owner": owner,
        "why": "the target's is shared with a draft that has none (vLLM's proposer)",
    }
    for owner in ("VocabParallelEmbedding", "ParallelLMHead")
]
MISSING_OPS = {}  # namespace::operator that the engine asks for while it builds and its library lacks -> where
ALIKE = 8  # after so many failures of one kind at one line, the rest of the kind is not tried

DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "C64": "complex64",
}


def helper(name):
    return sys.modules["seatrial_probe_dry"].sibling(name)


def run(rank, how, request, config, progress):
    arrange, errors = helper("dry_arrange"), helper("dry_errors")
    began = time.monotonic()
    answer = {"rank": rank, "how": how, "errors": [], "parameters": [], "built": False}
    watch = helper("dry_watch").make_watch()
    stage = "arrange"
    try:
        from vllm.config import set_current_vllm_config

        with set_current_vllm_config(config, check_compile=False):
            arrange.place_rank(config, request, rank)
        stage = "parallel"
        config.model_config.verify_with_parallel_config(config.parallel_config)
        stage = "build"
        model = build_anyway(config, watch)
    except Exception as exc:
        answer["errors"].append(errors.describe(exc, stage))
        answer["placeholders"] = arrange.PLACEHOLDERS
        answer["notes"] = arrange.NOTES
        answer["stubs"] = stub_facts(request)
        return answer
    answer["built"] = True
    answer["build_s"] = time.monotonic() - began
    began = time.monotonic()
    describe = helper("dry_model")
    before = describe.storages(model)
    feed = Feed(request, watch, before)
    feed.load(model, config, feed.everything() if how == "full" else feed.sample(), answer["errors"])
    answer["load_s"] = time.monotonic() - began
    optional = (request.get("stubs") or {}).get("optional", ())
    if request.get("target"):
        optional = [*optional, *SHARED_WITH_TARGET]
    answer.update(describe.parameters(model, watch, before, optional))
    answer["claimed"] = sorted(feed.claimed)
    answer["claims"] = feed.claims
    answer["fed"] = "all" if how == "full" else feed.sample()
    answer["alike"] = [[index, culprit] for index, culprit in feed.like.items()]
    answer["unfit"] = feed.unfit
    answer["not_reached"] = feed.not_reached
    answer["value_reads"] = sorted(watch.value_reads)
    if how == "full":
        began = time.monotonic()
        if rank == request["ranks"][0]:
            # What is passed over on all ranks is passed over on the first; once is enough.
            answer["drops"] = helper("dry_drops").rules(model, config, feed)
        answer["drops_s"] = time.monotonic() - began
    answer["regions"] = [[offset, list(sizes), list(strides)] for offset, sizes, strides in watch.region_list]
    answer["operations"] = list(watch.operations)
    answer["moves"] = base64.b64encode(watch.moves.tobytes()).decode()
    answer["images"] = watch.images_partly_read(lambda index: math.prod(feed.shapes[feed.columns["shape"][index]]))
    answer["regrouped"] = [[index, *shapes] for index, shapes in watch.regrouped.items()]
    answer["layers"] = describe.attention(config)
    answer["ops"] = describe.operations(model)
    if how == "full" and rank == request["ranks"][0]:
        began = time.monotonic()
        answer.update(calls_of(model, config, request))
        answer["calls_s"] = time.monotonic() - began
    answer["placeholders"] = arrange.PLACEHOLDERS
    answer["notes"] = [*arrange.NOTES, *answer.pop("calls_notes", ())]
    answer["missing_ops"] = MISSING_OPS
    answer["stubs"] = stub_facts(request)
    answer["peak_kib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return answer


def calls_of(model, config, request):
    """The operators that the forward calls. A reading that fails is a note: the account of the weights stands."""
    try:
        return helper("dry_ops").calls(model, config, request)
    except Exception as exc:
        place = helper("dry_errors").describe(exc, "read calls")
        text = f"the model's calls of operators could not be read: {place['type']}: {place['message'][:300]}"
        traceback.print_exc()
        return {"calls": {}, "calls_notes": [text]}


def stub_facts(request):
    return helper("dry_stubs").facts(request["stubs"]) if request.get("stubs") else None


def build_anyway(config, watch):
    """Build; where the engine's compiled library lacks an operator, note it, let it be and build again.

    Which one is missing is known only when it is asked for: a stand-in for any would spoil the engine's own hasattr().
    """
    import torch

    stubs = helper("dry_stubs")
    while True:
        try:
            return build(config, watch)
        except AttributeError as exc:
            found = re.search(r"'_OpNamespace' '(\w+)' object has no attribute '(\w+)'", str(exc))
            if found is None or "::".join(found.groups()) in MISSING_OPS:
                raise
            name = "::".join(found.groups())
            MISSING_OPS[name] = helper("dry_errors").describe(exc, "build")["at"]
            setattr(getattr(torch.ops, found[1]), found[2], stubs.StubCall(f"torch.ops.{found[1]}.{found[2]}"))
            config.compilation_config.static_forward_context.clear()


def build(config, watch):
    import torch

    values = torch.Tensor.tolist

    def tolist(tensor):
        """Slopes and rates that a model computes while it is built have no values here: ones stand for them."""
        return values(torch.ones_like(tensor, device="cpu")) if tensor.is_meta else values(tensor)

    torch.Tensor.tolist = tolist
    from vllm.config import set_current_vllm_config
    from vllm.model_executor.model_loader.utils import initialize_model

    watch.building = True
    try:
        with (
            helper("dry_arrange").default_dtype(config.model_config.dtype),
            torch.device("meta"),
            watch,
            set_current_vllm_config(config, check_compile=False),
        ):
            return initialize_model(config, model_config=helper("dry_arrange").built_model(config))
    finally:
        watch.building = False


class Feed:
    """Feeds tensors to `load_weights`; after an exception, goes on with those that were neither placed nor at fault."""

    def __init__(self, request, watch, storages):
        import torch

        columns = self.columns = request["tensors"]
        self.names = columns["names"]
        self.dtypes = [getattr(torch, DTYPES.get(name, ""), None) for name in columns["dtypes"]]
        self.shapes = [tuple(shape) for shape in columns["shapes"]]
        self.watch = watch
        self.storages = watch.homes = storages
        self.tensors = {}
        self.unfit = [i for i, dtype in enumerate(columns["dtype"]) if self.dtypes[dtype] is None]
        self.kinds = columns["kind"]
        self.passed = array("b", bytes(len(self.names)))  # 1: handed to the loader, which came back for the next
        self.faulty = set()
        self.alike = {}
        self.like = {}  # tensor not tried -> the tensor of its kind that failed
        self.claimed = set()
        self.claims = True
        self.last = -1
        self.not_reached = []

    def everything(self):
        unfit = set(self.unfit)
        return [index for index in range(len(self.names)) if index not in unfit]

    def make(self, indices):
        """The meta tensors of these indices, known to the watch as sources; made outside of it, which is faster."""
        import torch

        meta = torch.device("meta")
        dtype, shape, sources = self.columns["dtype"], self.columns["shape"], self.watch.sources
        for index in indices:
            tensor = torch.empty(self.shapes[shape[index]], dtype=self.dtypes[dtype[index]], device=meta)
            sources[tensor.untyped_storage()._cdata] = index
            self.tensors[index] = tensor

    def sample(self):
        """One tensor of every kind (names equal but for their numbers), in checkpoint order."""
        seen = {}
        for index in self.everything():
            seen.setdefault(self.kinds[index], index)
        return sorted(seen.values())

    def give(self, indices):
        for index in indices:
            self.last = index
            yield self.names[index], self.tensors[index]
            self.passed[index] = 1

    def load(self, model, config, indices, failures):
        errors = helper("dry_errors")
        self.make(indices)
        remaining = indices
        first = True
        while remaining:
            self.last = -1
            try:
                self.once(model, config, remaining)
                return
            except Exception as exc:
                failure = errors.describe(exc, "load" if first else "load-rest")
                culprit = self.blame(exc, failure)
                failures.append(failure)
                if culprit >= 0:
                    self.give_up_kind(culprit, failure, failures)
            first = False
            # A loader that streams fails on the tensor it was handed last; one that collects them fails on any.
            streams = culprit == self.last
            if culprit >= 0:
                self.faulty.add(culprit)
            remaining = [
                i
                for i in remaining
                if i not in self.watch.moved and i not in self.faulty and not (streams and self.passed[i])
            ]
            if culprit < 0 or len(failures) >= MAX_FAILURES:
                self.not_reached = [i for i in remaining if not self.passed[i]]
                return
            for i in remaining:
                self.passed[i] = 0

    def give_up_kind(self, culprit, failure, failures):
        """When a kind has failed often enough in one way, say so of its other tensors instead of trying each."""
        place = failure["at"] or {}
        key = (self.kinds[culprit], failure["type"], place.get("file"), place.get("line"))
        self.alike[key] = self.alike.get(key, 0) + 1
        if self.alike[key] != ALIKE:
            return
        for index in self.tensors:
            if self.kinds[index] == key[0] and index not in self.watch.moved and index not in self.faulty:
                self.faulty.add(index)
                if index != culprit:
                    self.like[index] = culprit

    def once(self, model, config, indices):
        import torch
        from vllm.config import set_current_vllm_config

        with set_current_vllm_config(config, check_compile=False), self.watch, torch.no_grad():
            loaded = model.load_weights(self.give(indices))
        if loaded is None:
            self.claims = False
        else:
            self.claimed.update(str(name) for name in loaded)

    def blame(self, exc, failure):
        """The checkpoint tensor that the failing code held: found in its frames, else the one handed out last."""
        import torch

        errors = helper("dry_errors")
        culprit = -1
        for filename, _, _, frame in reversed(errors.frames(exc)):
            if errors.own(filename):
                continue
            for value in list(frame.f_locals.values()):
                if not isinstance(value, torch.Tensor):
                    continue
                key = helper("dry_model").key_of(value)
                if not failure["parameter"] and key in self.storages:
                    failure["parameter"] = self.storages[key]
                    failure["parameter_shape"] = list(value.shape)
                origins = self.watch.sources.get(key)
                if culprit < 0 and origins is not None and key not in self.storages:
                    found = origins if type(origins) is int else (origins[0][0] if origins else -1)
                    if found not in self.watch.moved and found not in self.faulty:
                        culprit = found
            if culprit >= 0 and failure["parameter"]:
                break
        if culprit < 0 and self.last >= 0 and not self.passed[self.last]:
            culprit = self.last
        failure["tensor"] = culprit
        return culprit

    def dropped(self):
        return [i for i in self.tensors if self.passed[i] and i not in self.watch.moved and i not in self.faulty]
