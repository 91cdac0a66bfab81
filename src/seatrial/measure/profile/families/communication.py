"""Collectives between ranks: NCCL, HCCL, LCCL, vLLM's custom all-reduce, the operators that start them."""

from seatrial.measure.profile.families.base import Family

FAMILY = Family(
    name="communication",
    about="collectives and point-to-point transfers between ranks",
    patterns=(
        r"nccl",
        r"\bhcom_|^hcom|hccl",
        r"lccl",
        r"\b(c10d|gloo|mpi|symm_mem|vllm)::_?(all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast|send|recv|barrier)",
        r"cross_device_reduce|multimem_all_?reduce|(one|two)_?shot_all_?reduce|allreduce_fusion|trtllm_allreduce",
        r"^(all_?reduce|all_?gather|reduce_?scatter|all_?to_?all(v|vc)?|broadcast|batchsendrecv)(_|$|aicpu)",
        r"deep_ep::|nvshmem|internode::|intranode::",
        r"_C_custom_ar::|shm_all_?reduce|shm_all_?gather",
    ),
    examples=(
        "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)",
        "hcom_allReduce__746_0_1",
        "hcom_reduceScatter_",
        "hcom_alltoallv_",
        "allreduceAicpuKernel",
        "c10d::allreduce_",
        "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(vllm::RankData*, vllm::RankSignals)",
        "LcclAllReduce",
        "_C::shm_allreduce",
    ),
    not_these=("aten::broadcast_tensors", "ReduceSum"),
)
