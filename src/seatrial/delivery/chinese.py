"""Words of ours in Chinese, as vLLM Ascend's own Chinese documentation has them; text of the records stays as recorded.

The terms are those its translations (`docs/source/locale/zh_CN` of 0.23) use most: 推测解码, 图模式, 前缀缓存,
分块预填充, 响应, NPU. What it has no word for keeps the English one beside it.
"""

from __future__ import annotations

import re

VERDICTS = {
    "pass": "通过",
    "fail": "未通过",
    "inconclusive": "无法判定",
    "not-applicable": "不适用",
    "not run": "未执行",
}
STATUSES = {
    "supported": "支持",
    "unsupported": "不支持",
    "checkpoint-missing": "缺少对应权重",
    "not-applicable": "不适用",
    "not-attempted": "未测试",
    "inconclusive": "无法判定",
}
STEPS = {
    "inspect": "权重文件检查",
    "engine": "推理引擎检查",
    "support": "架构支持检查",
    "dry": "试加载（dry run）",
    "dummy": "dummy 权重验证",
    "dummy-ladder": "dummy 权重验证的故障定位",
    "real": "真实权重验证",
    "real-ladder": "真实权重验证的故障定位",
    "features": "特性验证",
    "agreement": "输出一致性验证",
    "soak": "长时间稳定性测试",
    "capacity": "容量测试",
}
FEATURES = {
    "attention-backend": "注意力后端",
    "chunked-prefill": "分块预填充",
    "data-parallel": "数据并行",
    "expert-parallel": "专家并行",
    "flashcomm1": "FlashComm1",
    "graph-mode": "图模式（图捕获与重放）",
    "logprobs": "logprobs",
    "lora": "LoRA",
    "mtp": "MTP",
    "multimodal": "图像输入",
    "video": "视频输入",
    "audio": "音频输入",
    "pipeline-parallel": "流水线并行",
    "prefix-cache": "前缀缓存",
    "quantisation": "量化",
    "speculative-ngram": "推测解码（n-gram）",
    "streaming": "流式输出",
    "structured-output": "结构化输出（JSON Schema）",
    "tensor-parallel": "张量并行",
    "tool-calls": "工具调用",
}
WHAT = {
    "accuracy test": "精度测试 YAML",
    "list of accuracy tests": "精度测试用例清单",
    "nightly registration": "nightly 用例注册",
    "tutorial": "模型部署教程",
}
# Reasons of ours; a group's text goes over as it is (a path, a target, a tool).
REASONS = (
    (r"no accuracy result is recorded, and no metric is made up", "没有精度评测记录，不填写未经实测的指标"),
    (
        r"the published name of the model is not known: --model-id ORG/NAME",
        "模型的发布名称未知（可用 --model-id ORG/NAME 指定）",
    ),
    (r"the repository has no such file", "仓库中没有该文件"),
    (
        r"the repository has no tutorials of models built by Sphinx or MkDocs",
        "仓库中没有基于 Sphinx 或 MkDocs 的模型教程",
    ),
    (r"the repository has no (\S+)", r"仓库中没有 \1"),
    (
        r"the run's target (\S+) is no Ascend series that (\S+) has a group for; choose one by hand",
        r"运行环境 \1 不属于 \2 中已分组的昇腾系列，需人工选择分组",
    ),
    (
        r"(\S+) has no accuracy group of (\S+) for (\d+) device\(s\); choose one by hand",
        r"\1 中没有 \2 系列 \3 卡的精度用例分组，需人工选择分组",
    ),
    (
        r"(\S+) runs (\S+), and the recorded result is of (.+): its tasks and metrics are others",
        r"\1 使用 \2 评测，而记录的结果来自 \3，两者的任务与指标不通用",
    ),
    (r"no registration is needed: (.+) is served by (.+)", r"\1 由 \2 提供实现，无需注册"),
    (r"it does not parse", "该文件无法解析"),
    (r"the (?:bench|accuracy run) (\S+) is of another checkpoint", r"\1 使用的是其他权重"),
    (r"the bench (\S+) is of a checkpoint that is not known", r"\1 没有记录所用的权重"),
    (
        r"the (?:bench|accuracy run) (\S+) is of (vllm\S*) (\S+), this run of (\S+)",
        r"\1 使用 \2 \3，本次运行使用 \2 \4",
    ),
    (
        r"the (?:bench|accuracy run) (\S+) was on platform (\S+), this run on (\S+)",
        r"\1 在 \2 平台上运行，本次运行在 \3 平台上",
    ),
    (r"the (?:bench|accuracy run) (\S+) is (unfinished|interrupted|error)", r"\1 没有正常结束（\2）"),
    (r"the bench (\S+) is partial: (.+)", r"\1 没有完整执行：\2"),
    (
        r"in the bench (\S+) a profiler was attached: no measure of performance",
        r"\1 开启了 profiling，不能作为性能数据",
    ),
)  # fmt: skip


def what(text: str) -> str:
    """An artifact's name."""
    return WHAT.get(text, text)


def reason(text: str) -> str:
    """Why an artifact was not written; a reason that is not ours stays as it is."""
    for pattern, chinese in REASONS:
        found = re.fullmatch(pattern, text)
        if found:
            return found.expand(chinese)
    return text
