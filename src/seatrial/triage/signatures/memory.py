"""Device memory, KV cache, host memory, shared memory and disk."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, SHAPE, root

KV = "Raise --gpu-memory-utilization a little, lower --max-model-len or --max-num-batched-tokens, raise TP, or quantise; `seatrial plan` does the sum."
SIGNATURES: tuple[Signature, ...] = (
    root("oom.device", "hbm-oom", r"(?:NPU|CUDA|XPU|HPU|HIP) (?:[Ee]rror: )?out of memory|OutOfMemoryError|aclrtMalloc\w{0,20} ?.{0,60}(?:failed|error|207001)|\b207001\b|Failed to apply for memory\.? .{0,60}HBM|"
         r"\b(?:xpu|npu|cuda|hip|device)_?[Mm]alloc\w{0,10} failed|Out of device memory|device memory (?:is )?(?:not enough|insufficient)|EL0004|FAIL_TO_ALLOC_MEMORY|[Nn]ot enough (?:device |HBM |NPU )?memory|halMemAlloc.{0,60}fail|cudaErrorMemoryAllocation|[Mm]emory_Allocation_Failure", LITERAL,
         "The device had no memory left for this allocation: weights, activations, graphs and KV cache together are over it.",
         "Lower --gpu-memory-utilization, --max-num-batched-tokens or the number of capture sizes; PYTORCH_NPU_ALLOC_CONF=expandable_segments:True; check with npu-smi that nobody else holds memory.", rung="estimate", sources=("V55",),
         unless=r"shm|DefaultCPUAllocator|alloc_cpu|utilization .{0,40}desired|ray\.exceptions|running low on memory|mem-fraction-static|batch size",
         matches=('RuntimeError: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62', "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.96 GiB total capacity)",)),
    root("oom.other-owner", "memory-budget", r"out of memory\. Tried to allocate .{1,60}; [1-9]\d\.\d{1,3} GiB total capacity; (?:\d\.\d{1,3} GiB|\d{1,4}(?:\.\d{1,3})? [KM]iB|0 bytes) already allocated;.{0,120}?(?:\d{1,4}(?:\.\d{1,3})? [KM]iB|0 bytes|0\.\d{1,3} GiB) free", EXACT,
         "This process holds little of the device, yet nothing is free: another process owns the memory.", "npu-smi info shows the owner: end your own stale processes, or choose another card.", sources=("vllm-ascend#1670",),
         matches=("RuntimeError: NPU out of memory. Tried to allocate 96.00 MiB (NPU 0; 60.97 GiB total capacity; 4.01 GiB already allocated; 4.01 GiB current active; 12.11 MiB free; 4.20 GiB reserved in total by PyTorch)",),
         rejects=("RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.96 GiB total capacity; 55.91 GiB already allocated; 55.91 GiB current active; 1.80 GiB free)",)),
    root("kv.none-left", "kv-cache-oom", r"No available memory for the cache blocks|KV cache memory .{0,60}(?:negative|<= ?0)|available_kv_cache_memory.{0,40}-\d|"
         r"[Nn]ot enough KV[ _]?cache (?:blocks|memory|space|slots)|[Nn]ot enough memory\. Please try to increase --mem-fraction-static|(?:Prefill|Decode) out of memory\. Try to lower your batch size|(?:KV|kv)[ _]?(?:cache )?pool (?:is full|exhausted|ran out)|number of required GPU blocks exceeds|[Nn]o (?:enough )?(?:blocks|memory) (?:left )?for (?:the )?kv ?cache|(?:n|num)_(?:\w{1,12}_)?blocks > 0 \(0 vs|(?:[Nn]o|[Nn]ot enough|[Ii]nsufficient) \w{0,10} ?(?:blocks|memory) for (?:the )?kv[ _]?cache", LITERAL,
         "Weights and the profiling run used the whole budget: nothing is left for KV cache.", KV, rung="estimate", sources=("V50", "V54"),
         matches=("F20251204 10:49:24.600590 228069 llm_engine.cpp:356] Check failed: kv_cache_cap.n_blocks > 0 (0 vs. 0) no n_blocks for kv cache", 'RuntimeError: Prefill out of memory. Try to lower your batch size.', 'ValueError: The number of required GPU blocks exceeds the total number of KV cache blocks.', "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",)),
    root("kv.negative", "kv-cache-oom", r"Available KV cache memory: ?-\d", EXACT, "Weights and activations alone are over the memory budget: the KV budget is negative.", KV, rung="estimate", sources=("V54", "vllm-ascend#9372"),
         matches=("(EngineCore pid=5) INFO 05-20 10:19:59 [worker.py:357] Available KV cache memory: -0.87 GiB",)),
    root("kv.too-long", "kv-cache-oom", r"To serve at least one request with the models?'s max seq len|is larger than the maximum number of tokens that can be stored in (?:the )?KV cache|Cannot auto-fit max_model_len|"
         r"larger than the available KV cache memory|estimated maximum model length is", LITERAL,
         "One request of max_model_len does not fit into the KV cache.", KV, rung="estimate", sources=("V51", "V53"),
         matches=("ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is needed, which is larger than the available KV cache memory (3.10 GiB).",)),
    root("budget.free", "memory-budget", r"(?:Free|Available) memory on (?:device|node) .{1,120}(?:on startup )?is less than desired|Error in memory profiling\. Initial (?:free|used) memory|"
         r"Free memory .{0,80}less than|memory (?:was|is) (?:used|occupied) by other process|(?:is|already) (?:used|occupied) by (?:an)?other process|desired (?:GPU|CPU|NPU) memory utilization", LITERAL,
         "The requested share of memory is more than is free: another process holds the device, or the share is too high.", "npu-smi info (nvidia-smi, free -g): end your own stale processes, or lower --gpu-memory-utilization.", rung="estimate", sources=("V52",),
         matches=("ValueError: Free memory on device (4.1/60.9 GiB) on startup is less than desired GPU memory utilization (0.9, 54.8 GiB).",)),
    root("budget.host", "memory-budget", r"oom-kill|Out of memory: Killed process|OOMKilled|DefaultCPUAllocator: (?:can't|not enough) (?:allocate )?memory|MemoryError: Unable to allocate|Cannot allocate memory|std::bad_alloc|"
         r"[Mm]emory cgroup out of memory|node running low on memory|ray\.exceptions\.OutOfMemoryError|cpu[_ ]swap.{0,40}(?:exceed|too large|enough)|Too large swap space", LITERAL,
         "The host had no memory left.", "`free -g`, the container's memory limit, `dmesg | grep -i oom`; load fewer shards at once.",
         matches=('ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.', "RuntimeError: [enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.",)),
    root("shm.full", "out-of-shm-disk", r"[Nn]o space left on device|unable to (?:open|write to|allocate) .{0,40}shared memory|exceeds memory available in /dev/shm|/dev/shm.{0,80}(?:full|exhaust|not enough|insufficient|small|too)|\bBus error|insufficient shared memory|"
         r"[Dd]isk quota exceeded|Insufficient space in /?\S{0,40}(?:shm|psm)|out of (?:disk|shared memory)|(?:increas|small|too|larger|rais|bigger|exceed).{0,60}shm[-_]size", LITERAL,
         "Shared memory (/dev/shm) or a disk is full.", "`df -h /dev/shm /tmp ~`; start the container with --shm-size=... or --ipc=host.",
         matches=("OSError: [Errno 28] No space left on device: '/psm_1'", "RuntimeError: unable to write to file </torch_1>: unable to open shared memory object",)),
    root("kvinit.layers", "kv-cache-init", r"Duplicate layer name|bind_kv_cache|kv_cache_(?:spec|config|groups?)|KVCacheSpec|page[_ ]size.{0,60}(?:unif|same|differ|divis)|unify_.{0,40}kv_cache|initialize_kv_cache|"
         r"number of KV cache|kv_cache_tensors?|hybrid kv cache|get_kv_cache_spec|kv cache (?:block|page) size|kernel sizes? .{1,40} can divide|physical block size|block_size must be divisible|KV cache (?:group|spec|type|layout)|Invalid (?:cache tensor size|dsa_k\w{0,20}_size)|DSA cache (?:has|offset|allocation)|failed to convert the KV cache specs", SHAPE,
         "The KV cache could not be laid out for this model's layers.", "Compare the layer names and page sizes in get_kv_cache_spec; try --disable-hybrid-kv-cache-manager and a fixed --block-size.",
         raised=r"AssertionError|ValueError|KeyError|NotImplementedError|RuntimeError|TypeError|AttributeError|IndexError", unless=r"GiB KV cache|estimated maximum|unexpected keyword|No available memory|required GPU blocks",
         matches=("ValueError: Duplicate layer name: model.layers.0.self_attn.attn",)),
    root("kvinit.exact", "kv-cache-init", r"Duplicate layer name|failed to convert the KV cache specs|kernel sizes? .{1,40} can divide|real block_size must be divisible|layers are not correctly initialized|page sizes? .{0,40}(?:not unif|differ)", LITERAL,
         "The KV cache could not be laid out for this model's layers.", "Compare the layer names and page sizes in get_kv_cache_spec; try --disable-hybrid-kv-cache-manager and a fixed --block-size.",
         matches=("ValueError: None of the kernel sizes [128] can divide physical block size 16 evenly",)),
    root("kvinit.attn-key", "kv-cache-init", r"KeyError: ['\"][\w.]{0,160}(?:self_attn\.attn|\.attn|linear_attn|mixer|indexer\.k_cache|swa_cache)['\"]", SHAPE,
         "An attention layer is missing from the KV cache's or forward context's table.", "The layer must register under the name the runner uses (prefix, PP stage, draft layer).",
         matches=("KeyError: 'model.layers.0.linear_attn'",)),
    root("kvinit.place", "kv-cache-init", r"Error", SHAPE, "The KV cache could not be laid out or allocated for this model.", "Compare the layers' kv-cache specs; try --disable-hybrid-kv-cache-manager, and a fixed --block-size.",
         innermost=r"kv_cache_utils|kv_cache_interface|kv_cache_coordinator|:initialize_kv_cache|:_?(?:re)?allocate_kv_cache|:_reshape_kv_cache|kv_cache_manager|memory_pool\.py|:bind_kv_cache|:initialize_attn_backend|:get_kv_cache",
         raised=r"AssertionError|ValueError|KeyError|NotImplementedError|TypeError|RuntimeError|IndexError|AttributeError", unless=r"out of memory|unexpected keyword|required positional|memory",
         matches=('  File "/x/vllm_ascend/worker/model_runner_v1.py", line 3, in initialize_kv_cache_tensors:_reshape_kv_cache\n    assert a\n' "AssertionError: Some layers are not correctly initialized",)),
    root("oom.buffsize", "hccl-communication", r"HCCL_BUFFSIZE", EXACT, "HCCL's buffer is too small for the dispatch of this batch.", "Raise HCCL_BUFFSIZE (MB) to what the message asks for; lower --max-num-batched-tokens.",
         unless=r"^\s{0,8}export|^HCCL_BUFFSIZE=|env", raised=r"\w{1,80}|",
         matches=("RuntimeError: HCCL_BUFFSIZE is too SMALL, maxBs = 512, h = 7168, epWorldSize = 16",)),
)  # fmt: skip
