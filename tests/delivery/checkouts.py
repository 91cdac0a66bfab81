"""Small repositories of the shapes that deliveries go to, as git checkouts with one commit. All text is our own.

`sphinx`: vllm-ascend up to 0.23 (MyST, toctree, tab-set). `mkdocs`: its newer layout (nav, pymdownx tabs, nav titles).
`flat`: the older dialect of accuracy YAML. `kunlun`: a plugin with a register_model and a README with lists.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

TEST_SERVE = """
import yaml


def build(cfg, tp):
    serve_cfg = cfg.get("serve", {})
    args = {"pretrained": cfg["model_name"], "tensor_parallel_size": tp, "dtype": serve_cfg.get("dtype", "auto")}
    args["max_model_len"] = serve_cfg.get("max_model_len", 4096)
    for name in ["gpu_memory_utilization", "tensor_parallel_size", "enforce_eager", "quantization"]:
        value = serve_cfg.get(name, None)
        if value is not None:
            args[name] = value
    return args


def test_it(config_filename, tp_size):
    cfg = yaml.safe_load(config_filename.read_text())
    if cfg.get("model_type", "vllm") == "vllm-asr":
        return
    build(cfg, tp_size)
    kwargs = {}
    for name in ["num_fewshot", "apply_chat_template", "fewshot_as_multiturn", "limit"]:
        value = cfg.get(name, None)
        if value is not None:
            kwargs[name] = value
    cfg.get("hardware", "unknown")
    for task in cfg["tasks"]:
        for metric in task["metrics"]:
            assert run(task["name"], metric["name"]) == metric["value"]
"""
TEST_FLAT = (
    TEST_SERVE.replace('serve_cfg = cfg.get("serve", {})\n    ', "")
    .replace("serve_cfg", "cfg")
    .replace('"model_type"', '"model"')
)
TEMPLATE = """# How to write a tutorial

## 1 Introduction

## 2 Supported Features

## 3 Prerequisites

### 3.1 Model Weight

## 4 Installation

```bash
## 99 Deployment (this is no heading)
```

## 5 Online Service Deployment{anchor}

## 6 Functional Verification

## 7 Accuracy Evaluation

## 8 Performance Evaluation

## 9 Performance Tuning

## 10 FAQ
"""
MATRIX = """# Supported Models

- ✅ = Supported
- 🟡 = Not tested

## Text-Only Language Models

### Generative Models

#### Core Supported Models

{open_a5}
| Model | Support | Note | BF16 | Chunked Prefill | Doc |
|-------|---------|------|------|-----------------|-----|
| Old | ✅ | | ✅ | ✅ | [Old](../../tutorials/models/Old.md) |
{between}
| Model | Support | Note | BF16 | Supported Hardware | Chunked Prefill | Automatic Prefix Cache | LoRA \
| Speculative Decoding | Tensor Parallel | Pipeline Parallel | Expert Parallel | max-model-len | Doc |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| Old | ✅ | | ✅ | A2/A3 | ✅ | ✅ | | | ✅ | | | 128k | [Old](../../tutorials/models/Old.md) |
{close}
### Pooling Models

| Model | Support |
|-------|---------|
| Older | ✅ |

## Multimodal Language Models

| Model | Support | Note |
|-------|---------|------|
| Eyes | ✅ | |
"""
NIGHTLY = """# What runs at night.
a2:
  accuracy:
    nightly:
      - name: group-1   # one device
        os: linux-aarch64-a2b3-1
        model_list:
          - Old
          - Older
      - name: group-2
        os: linux-aarch64-a2b3-2
        model_list:
          - Two
"""
OLD_PAGE = "# Old\n\n```bash\nexport IMAGE=quay.io/ascend/vllm-ascend:{macro}-a3\n```\n"
NAV = """site_name: plugin
docs_dir: docs/source
nav:
  - Home: index.md
  - Model Tutorials:
      - tutorials/models/index.md
      - tutorials/models/Old.md
      - tutorials/models/Older.md
  - User Guide:
      - installation.md
markdown_extensions:
  - pymdownx.tabbed:
      alternate_style: true
      slugify: !!python/name:pymdownx.slugs.slugify
"""
TITLES = 'TITLES = {\n    "index.md": "Home",\n    "tutorials/models/Old.md": "Old",\n}\n'
REGISTER = '''from vllm import ModelRegistry


def register_model():
    ModelRegistry.register_model("OldForCausalLM", "vllm_kunlun.models.old:OldForCausalLM")
    ModelRegistry.register_model(
        "OlderForCausalLM", "vllm_kunlun.models.older:OlderForCausalLM"
    )


def register_quant_method():
    """Nothing yet."""
'''
README = """# vLLM Kunlun

## Supported Models

### Generative Models

| Model | Support | Quantization | LoRA |  Kunlun Graph |
|:------|:-------:|:------------:|:----:|:-------------:|
| Qwen2 | ✅ | ✅ | ✅ | ✅ |

### Multimodal Language Models

| Model | Support | Quantization | LoRA |  Kunlun Graph |
|:------|:-------:|:------------:|:----:|:-------------:|
| Qwen2-VL | ✅ | ✅ | | ✅ |

Use the following prefixes: `[Feature]`, `[Bugfix]`, `[Doc]`.
"""


def files_of(shape: str) -> dict[str, str]:
    """Path to text."""
    if shape == "kunlun":
        return {"vllm_kunlun/models/__init__.py": REGISTER, "vllm_kunlun/__init__.py": "", "README.md": README}
    if shape == "generic":
        return {"README.md": "# Notes\n"}
    is_mkdocs = shape == "mkdocs"
    macro = "{{ vllm_ascend_version }}" if is_mkdocs else "|vllm_ascend_version|"
    tabs = (
        {"open_a5": '=== "Ascend 950"\n', "between": '\n=== "A2/A3"\n', "close": ""}
        if is_mkdocs
        else {
            "open_a5": ":::::{tab-set}\n\n::::{tab-item} Ascend 950\n",
            "between": "\n::::\n\n::::{tab-item} A2/A3\n",
            "close": "\n::::\n:::::\n",
        }
    )
    anchor = "{: #5-online-service-deployment }" if is_mkdocs else ""
    docs = {
        "_templates/Model-Deployment-Tutorial-Template.md": TEMPLATE.replace(
            "{anchor}", f" {anchor}" if anchor else ""
        ),
        "tutorials/models/Old.md": OLD_PAGE.replace("{macro}", macro),
        "tutorials/models/Older.md": "# Older\n",
        "user_guide/support_matrix/supported_models.md": MATRIX.format(**tabs),
        "user_guide/feature_guide/index.md": "# Features\n",
        "developer_guide/evaluation/using_lm_eval.md": "# lm_eval\n",
        "installation.md": "# Installation\n",
        "faqs.md": "# FAQs\n",
        "tutorials/models/index.md": "# Model Tutorials\n\nPages.\n"
        if is_mkdocs
        else "# Model Tutorials\n\n:::{toctree}\n:caption: Model Tutorials\n:maxdepth: 1\nOld.md\nOlder.md\n:::\n",
    }
    found = {f"docs/source/{path}": text for path, text in docs.items()}
    found["vllm_ascend/__init__.py"] = ""
    found["tests/e2e/models/test_lm_eval_correctness.py"] = TEST_FLAT if shape == "flat" else TEST_SERVE
    found["tests/e2e/models/configs/accuracy.txt"] = "Old.yaml\n"
    found["tests/e2e/models/configs/Old.yaml"] = 'model_name: "org/Old"\n'
    found[".github/workflows/configs/nightly_config.yaml"] = NIGHTLY
    found["CONTRIBUTING.md"] = "Titles begin with `[Doc]` or `[Model]`.\n"
    if is_mkdocs:
        found["mkdocs.yml"] = NAV
        found["docs/hooks/nav_titles.py"] = TITLES
    else:
        found["docs/source/conf.py"] = 'extensions = ["myst_parser"]\n'
    return found


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def checkout(folder: Path, files: dict[str, str] | None = None) -> Path:
    """A git repository with one commit; the files given, or those already there."""
    for path, text in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "init", "-q", "-b", "main", ".")
    git(folder, "config", "user.name", "A Sailor")
    git(folder, "config", "user.email", "sailor@example.org")
    git(folder, "config", "core.hooksPath", "/dev/null")
    git(folder, "config", "commit.gpgsign", "false")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Import")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a checkout and every ref, to see that nothing changed."""
    files = {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and ".git" not in p.relative_to(folder).parts
    }
    asked = {"refs": ("for-each-ref",), "status": ("status", "--short"), "worktrees": ("worktree", "list")}
    said = {name: git(folder, *words).encode() for name, words in asked.items()}
    return {**files, **said, "head": (folder / ".git/HEAD").read_bytes()}


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
