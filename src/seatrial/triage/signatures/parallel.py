"""Expert and pipeline parallelism, devices and which of them a process sees, start of worker processes."""

from __future__ import annotations

from seatrial.triage.signature import Signature
from seatrial.triage.signatures._make import EXACT, LITERAL, SHAPE, root

EP = "expert-parallel"
PP = "pipeline-parallel"
VIS = "device-visibility"
SEE = "npu-smi info inside the container; /dev/davinci*, /dev/davinci_manager, devmm_svm and hisi_hdc mounted; ASCEND_RT_VISIBLE_DEVICES against TP x PP x DP."
SIGNATURES: tuple[Signature, ...] = (
    root("ep.limits", EP, r"(?:n_)?(?:physical|routed|local|global|num)_?experts?.{0,80}(?:divisible|must be|should be|not support|exceed|greater than|mismatch|!=|==)|Number of experts in the model must be greater than 0|expert[ _-]parallel\w{0,4}.{0,100}(?:not support|unsupported|only|must|require|fail|cannot)|"
         r"MegaMoe is not supported|does not support enable_fused_mc2|EPLB.{0,100}(?:not support|only|require|must|fail)|[Uu]pstream EPLB|num_redundant_experts|expert_map.{0,80}(?:mismatch|invalid|fail|not)|ep_size.{0,60}(?:divis|must|should)|moe_expert_num|epWorldSize|"
         r"aclnnMoeDistribute\w{0,20}|MoeDistribute(?:Dispatch|Combine)\w{0,10}|npu_moe_distribute_\w{0,20}|[Dd]eep_?[Ee][Pp]\b.{0,80}(?:fail|error|not)|token_dispatcher.{0,60}(?:fail|error)|moe_tp_size|moeExpertNum|all2all.{0,60}(?:not support|unknown|Unknown|fail)", LITERAL,
         "Experts cannot be spread this way: the count does not divide, or the dispatch operator has limits.", "Choose an EP size that divides the experts (or num_redundant_experts); without --enable-expert-parallel to confirm.", rung="support", sources=("V27", "A43", "A44", "A47"), raised=r"\w{1,80}|",
         unless=r"HCCL_BUFFSIZE|weight|KeyError|has no attribute|out of memory|cannot import|^\s{0,8}export|INFO",
         matches=("AssertionError: n_physical_experts=256 must be divisible by ep_size=3. Adjust num_redundant_experts.",)),
    root("ep.place", EP, r"Error", SHAPE, "The failure was raised in the expert dispatch or load-balancing code.", "Serve without --enable-expert-parallel and without EPLB to confirm.",
         innermost=r"eplb|token_dispatcher|moe_comm_method|fused_moe_prepare|all2all|expert_load|deep_?ep|prepare_finalize|moe/ep", raised=r"RuntimeError|AssertionError|ValueError|IndexError|KeyError|AttributeError|NotImplementedError|TypeError", unless=r"out of memory|unexpected keyword|required positional|No module|module '",
         matches=('  File "/w/vllm_ascend/eplb/core/eplb_worker.py", line 1, in do_update\n    x\n' "IndexError: index 5 is out of bounds for dimension 0 with size 4",)),
    root("pp.support", PP, r"[Pp]ipeline[ _-]parallel\w{0,4}.{0,80}(?:not (?:yet )?(?:supported|implemented)|only|must|require|unsupported|cannot|divis)|SupportsPP|make_empty_intermediate_tensors|pipeline_parallel_size.{0,80}(?:must|not|greater|invalid)|"
         r"[Ii]ntermediate_?[Tt]ensors.{0,80}(?:None|has no|not|KeyError|missing)|PPMissingLayer|VLLM_PP_LAYER_PARTITION|get_pp_indices|pp_size.{0,60}(?:not support|must|should)", LITERAL,
         "The model or the platform does not do pipeline parallelism, or a stage lacks a layer.", "PP=1 (use TP), or implement SupportsPP with make_empty_intermediate_tensors.", rung="support", sources=("V26",), raised=r"\w{1,80}|",
         unless=r"missing vLLM-specific|unexpected keyword",
         matches=("NotImplementedError: Pipeline parallelism is not supported for this model. Supported models implement the `SupportsPP` interface.", "AttributeError: 'PPMissingLayer' object has no attribute 'self_attn'")),
    root("pp.stage-tensor", PP, r"KeyError: '(?:residual|hidden_states)'|assert intermediate_tensors is not None", SHAPE,
         "A tensor that the stage before should have sent is not there: what forward() returns and make_empty_intermediate_tensors() differ.",
         "PP=1 to confirm; give both the same names.", raised=r"KeyError|AssertionError|", sources=("vllm#55913", "vllm-gaudi#728"),
         matches=('  File "/x/vllm/v1/worker/gpu/model_runner.py", line 9, in execute_model\n    v[:n].copy_(intermediate_tensors.tensors[k][:n])\n' "KeyError: 'residual'",)),
    root("pp.attn-key", PP, r"KeyError: ['\"][\w.]{0,160}layers\.\d{1,4}\.(?:self_attn(?:\.attn)?|attn|mla_attn\w{0,10})(?:\.\w{1,20})?['\"]", EXACT,
         "An attention layer of another pipeline stage (or of the draft model) is looked up on this rank.", "PP=1 to confirm; on Ray, use mp or a version with the fix.", context=r"pipeline[_-]parallel[_-]size[\s=':]{1,4}[2-9]|-pp[ =][2-9]|PP[1-9]|_PP\d", sources=("vllm#41287",),
         matches=("vllm serve m --pipeline-parallel-size 2\nKeyError: 'model.layers.0.self_attn.attn'",)),
    root("pp.world", VIS, r"World size \(\d{1,5}\) is larger than the number of available GPUs|[Ll]ocal_world_size \(\d{1,4}\).{0,160}visible devices|(?:number of )?(?:visible|available) (?:devices?|NPUs?|GPUs?).{0,80}(?:less than|smaller|not enough|fewer|0\b)|"
         r"local_rank.{0,40}(?:out of (?:bounds|range)|>= ?device)|[Nn]o NPU devices? (?:found|available)|No (?:available )?(?:NPU|GPU|XPU|CUDA|HPU)s?(?: devices?)? (?:are|is|were|was)? ?(?:available|found|detected|visible)|[Nn]ot enough (?:NPU|GPU|device)s|"
         r"[Ii]nvalid device ?(?:ID|id|ordinal|index)|device(?:_id| id)? .{0,20}(?:is )?(?:out of range|invalid|not exist)|\b107001\b|dcmi (?:module|model) initialized? failed|Can't get (?:ascend_hal|acl) device|get device (?:count|num\w{0,4}).{0,40}(?:fail|error)|aclrtGetDeviceCount|cudaGetDeviceCount|driver error: ?no valid device|is not visible in \w{3,40}=|drvGet\w{1,30} ?.{0,30}fail|"
         r"\b507899\b|/dev/davinci\w{0,10}.{0,60}(?:No such|not found|denied|fail)|[Dd]evice_?(?:count|num).{0,20}(?:= ?0|is 0|is zero)|ASCEND_(?:RT_)?VISIBLE_DEVICES.{0,80}(?:invalid|not|error|must|exceed|out)|aclrtSetDevice\b.{0,80}(?:fail|error)|rtSetDevice.{0,60}(?:fail|error)|total number of (?:devices|NPUs|GPUs).{0,80}(?:is )?(?:less|smaller|not enough)|"
         r"[Cc]urrent node has no NPU|[Nn]o accelerator|No CUDA GPUs are available|insufficient (?:number of )?(?:NPU|GPU|device)s|Open device \d{1,3} failed|ErrCode=207", LITERAL,
         "The process sees fewer devices than it was told to use, or none.", SEE, sources=("V30", "A09"), raised=r"\w{1,80}|", unless=r"out of memory|^\s{0,8}export|memory",
         matches=('RuntimeError: NPU function error: aclrtGetDeviceCount(&device_count), error code is 207004', "ValueError: World size (16) is larger than the number of available GPUs (8) in this node.", "AssertionError: local_world_size (8) must be less than or equal to the number of visible devices (0).", "dcmi module initialize failed. ret is -8005")),
    root("vis.operation-denied", VIS, r"docker: .{0,200}[Oo]peration not permitted|/dev/(?:davinci|hisi|devmm)\w{0,20}.{0,80}(?:denied|not permitted)|could not select device driver|unknown or invalid runtime name: ascend|\b507033\b|drv(?:err)?.{0,30}no device", LITERAL,
         "The container may not use the devices.", "--device for each /dev/davinciN, /dev/davinci_manager, /dev/devmm_svm, /dev/hisi_hdc; ascend-docker-runtime; or --privileged to confirm.", sources=("A88",), raised=r"\w{1,80}|",
         matches=("docker: Error response from daemon: unknown or invalid runtime name: ascend.", "docker: Error response from daemon: failed: operation not permitted")),
    root("place.two-devices", "device-placement", r"[Ee]xpected all tensors to be on the same device|found at least two devices|(?:tensor|input|index|indices|self|other|weight)s? .{0,60}(?:is|are|should be|must be) on (?:the )?(?:same )?(?:CPU|cpu|NPU|npu|cuda|device)|[Ee]xpected a '\w{1,10}' device type for generator|device type .{0,30}but (?:got|found)|"
         r"not on the same device|Tensor on device .{1,40} is not on|[Cc]annot (?:copy|access|convert) .{0,40}(?:npu|cuda|xpu):\d|can't convert (?:npu|cuda|xpu):\d{1,3} device type tensor to numpy|cannot be accessed from Triton \(cpu tensor|indices should be either on cpu or on the same device|[Uu]nexpected device type|should be on (?:npu|cuda|cpu)", LITERAL,
         "A tensor lies on another device than the operator's other inputs.", "Find where it is created (the frame above): create it on the layer's device, or register it as a buffer.", raised=r"\w{1,80}|",
         matches=("RuntimeError: Expected a 'npu' device type for generator but found 'cpu'", 'ValueError: Pointer argument (at 0) cannot be accessed from Triton (cpu tensor?)', "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, npu:0 and cpu! (when checking argument for argument r1 in method wrapper__npu_rotary_mul)",)),
    root("start.fork", "multiprocessing-start-method", r"[Cc]annot re-initialize (?:CUDA|NPU|XPU|HPU) in forked subprocess|[Uu]nable to re-?initialize|attempt has been made to start a new process before the|has finished its bootstrapping phase|freeze_support\(\)|"
         r"must use the 'spawn' start method|if __name__ == ['\"]__main__['\"]|VLLM_WORKER_MULTIPROCESSING_METHOD.{0,60}(?:spawn|fork)|context has already been set|daemonic processes are not allowed to have children|[Cc]an't pickle|cannot pickle|Can't get local object", LITERAL,
         "The device was touched before worker processes were forked, or the script has no __main__ guard for spawn.", "VLLM_WORKER_MULTIPROCESSING_METHOD=spawn; put the start under `if __name__ == \"__main__\":`; register models lazily as \"module:Class\".", sources=("V14",), raised=r"\w{1,80}|",
         unless=r"^\s{0,8}export|is (?:being )?overrid|We must use the|Overriding|INFO",
         matches=("RuntimeError: Cannot re-initialize NPU in forked subprocess. To use NPU with multiprocessing, you must use the 'spawn' start method",)),
    root("start.binding", "thread-binding", r"cpu_?binding|bind_cpus?|[Bb]ind(?:ing)? (?:cpu|CPU|thread|core)s?.{0,60}(?:fail|error|not|invalid|empty)|(?:cpu|CPU|thread|core)s? bind(?:ing)?.{0,60}(?:fail|error|not|invalid|empty|should|must|more)|sched_setaffinity|Insufficient CPUs for binding|[Cc]an not get running npu info|no NUMA node available|VLLM_CPU_OMP_THREADS_BIND.{0,80}(?:fail|invalid|not|must|should|error)|init_cpu_threads_env|"
         r"taskset.{0,60}(?:fail|not found|invalid)|numa_(?:node|migrate|bind)\w{0,20}.{0,60}(?:fail|error|invalid)|libnuma.{0,60}(?:fail|error|Invalid|out of range)|NUMA.{0,40}(?:fail|error|not (?:found|available))|allowed_cpus|Cpus_allowed|lscpu.{0,60}(?:fail|error|not found|non-zero)|(?:NUMA|numa|CPUs?|[Cc]ores?)\b.{0,80}\bto (?:bind|pin)\b|\b(?:bind|pin) (?:the )?(?:\w{1,12} )?(?:threads?|cores?|CPUs?|memory)\b.{0,40}(?:manually|NUMA|numa|fail|error|not )|(?:mbind|set_mempolicy|migratepages|numactl)\b.{0,80}(?:fail|error|denied|not permitted|not found|No such)", LITERAL,
         "Threads could not be bound to cores: the container's CPU set, lscpu or the topology table is not what the code expects.", "Turn binding off (additional_config.enable_cpu_binding=false; VLLM_CPU_OMP_THREADS_BIND=nobind) or give the container its cores.", raised=r"\w{1,80}|",
         unless=r"OpenMP thread binding info|NUMA binding: Using|auto_setup|^\s{0,8}export",
         matches=('RuntimeError: Insufficient CPUs for binding with IRQ offset and CPU reservations on NPU 0', '  File "/w/vllm_ascend/cpu_binding.py", line 1, in bind_cpus\n    x\n' "RuntimeError: bind_cpus: no allowed cpus for rank 0",)),
    root("start.binding-place", "thread-binding", r"Error", SHAPE, "CPU binding failed.", "Turn binding off (enable_cpu_binding=false) to confirm.", innermost=r"cpu_binding|omp_?binding|ompmultiprocessing|numa_utils|:bind_cpus|numa_aware",
         matches=('  File "/w/vllm_ascend/cpu_binding.py", line 1, in get_numa_map\n    x\n' "ValueError: invalid literal for int() with base 10: ''",)),
    root("start.binding-on-path", "thread-binding", r"Error", SHAPE, "A command or file that CPU binding needs is missing or answers differently in this container.", "Turn binding off (enable_cpu_binding=false) to confirm; install the tool that the message names (util-linux, numactl).",
         frames=r"cpu_?binding\.py|:bind_cpus$|:bind_threads|:init_cpu_threads_env$|:_?get_autobind\w{0,20}$|omp_?binding", unless=r"out of memory|No module",
         matches=('  File "/w/vllm_ascend/cpu_binding.py", line 1, in execute_command\n    with subprocess.Popen(cmd) as p:\n  File "/usr/lib/python3.11/subprocess.py", line 9, in _execute_child\n    raise x\n' "FileNotFoundError: [Errno 2] No such file or directory: 'migratepages'",)),
    root("start.main", "multiprocessing-start-method", r"Error", SHAPE, "A spawned child could not load the main module: the program was read from standard input, lives nowhere on disk, or cannot be imported.",
         "Put the program into a file with `if __name__ == \"__main__\":`, and start that file.", raised=r"FileNotFoundError|OSError|ImportError|ModuleNotFoundError|AttributeError|ValueError",
         innermost=r"multiprocessing/spawn\.py|/runpy\.py", sources=("V14",), anchor="-",
         matches=('  File "/usr/lib/python3.11/multiprocessing/spawn.py", line 9, in _fixup_main_from_path\n    main_content = runpy.run_path(main_path,\n' "FileNotFoundError: [Errno 2] No such file or directory: '/workspace/<stdin>'",)),
    root("start.main-name", "multiprocessing-start-method", r"Can't get attribute '\w{1,80}' on <module '__(?:mp_)?main__'", LITERAL, "What a worker must unpickle is defined in the main program, which a spawned worker does not run.",
         "Move it into an importable module.", raised=r"AttributeError", anchor="-", matches=("AttributeError: Can't get attribute 'MyProc' on <module '__main__' (built-in)>",)),
    root("place.two-names", "device-placement", r"\b[Dd]evices?\b.{0,80}\b(?:npu|cuda|xpu|hpu|cpu)\b.{1,80}\b(?:npu|cuda|xpu|hpu|cpu)\b|\b(?:npu|cuda|xpu|hpu|cpu)\b.{1,60}\b(?:npu|cuda|xpu|hpu|cpu)\b.{0,60}\b(?:same device|devices must match|different devices?)", SHAPE,
         "Two devices meet in one operation.", "Create both tensors on the layer's device; map_location when loading.", raised=r"RuntimeError|ValueError|TypeError|AssertionError",
         unless=r"out of memory|Could not run|[Aa]vailable|visible|backend|plugin|not support|unsupported|ordinal|--device", sources=("LLaMA-Factory#1600",),
         matches=('RuntimeError: Attempted to set the storage of a tensor on device "npu:4" to a storage on different device "npu:0".  This is no longer allowed; the devices must match.',)),
    root("place.place", "device-placement", r"device type|device mismatch|different devices", SHAPE, "A tensor lies on another device than the operator expects.", "Create it on the layer's device.", raised=r"RuntimeError|AssertionError|ValueError|TypeError",
         unless=r"infer device type|generator.{0,3}$", matches=("RuntimeError: aten::index got a device mismatch",)),
)  # fmt: skip
