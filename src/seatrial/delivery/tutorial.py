"""The model's tutorial in the repository's template and builder, from recorded facts only.

In: the repository's docs dialect and the evidence. Out: the page. What was not measured is said to be unknown;
links are written only to pages that exist.
"""

from __future__ import annotations

import json
from typing import Any

from seatrial.core.finding import Finding, Severity
from seatrial.delivery.benches import Benched
from seatrial.delivery.docs_dialect import DocsDialect
from seatrial.delivery.evidence_view import EvidenceView
from seatrial.delivery.order import Order
from seatrial.delivery.planned import planned_of
from seatrial.delivery.render import render
from seatrial.delivery.repository import Repository
from seatrial.delivery.scores import Scored
from seatrial.delivery.serve import Serving
from seatrial.report.words import billions, seconds

SERIES = (("A3 series", "A3", "-a3"), ("A2 series", "A2", ""))
LINKS = {
    "matrix": "user_guide/support_matrix/supported_models.md",
    "features": "user_guide/feature_guide/index.md",
    "installation": "installation.md",
    "lm_eval": "developer_guide/evaluation/using_lm_eval.md",
    "ais_bench": "developer_guide/evaluation/using_ais_bench.md",
    "faqs": "faqs.md",
}


def tutorial(
    docs: DocsDialect,
    repo: Repository,
    view: EvidenceView,
    order: Order,
    scored: Scored,
    benched: Benched,
    serving: Serving,
) -> str:
    """The whole page."""
    gate = view.gate("real")
    here = {name: f"../../{path}" if f"{docs.root}/{path}" in repo.files() else "" for name, path in LINKS.items()}
    return render(
        "tutorial.md.j2",
        macros=docs.builder == "mkdocs",
        docs=docs,
        order=order,
        view=view,
        serving=serving,
        scored=scored,
        benched=benched,
        gate=gate,
        link=here,
        tabs=tabs(docs),
        request=first_request(view),
        answer=next((r for r in gate.requests if r.name == "text"), None) if gate is not None else None,
        ready=seconds(gate.ready_s) if gate is not None and gate.ready_s is not None else "unknown",
        card=card(view),
        capacity=view.facts("capacity"),
        planned=planned_of(view),
        troubles=troubles_of(view),
        is_own_platform=view.platform == order.kind,
    )


def card(view: EvidenceView) -> dict[str, str]:
    """The model in a few words, each "" if unknown. What it has not is said only where the facts would say it has."""
    facts = view.facts("inspect")
    part = view.architecture()
    total = ((facts.get("parameters") or {}).get("total") or {}).get("value")
    context = (facts.get("context") or {}).get("value")
    mixers = (facts.get("attention") or {}).get("mixers") or []
    quantization = facts.get("quantization") or {}
    return {
        "architectures": ", ".join(view.architectures()),
        "parameters": billions(int(total)) if isinstance(total, int) else "",
        "layers": str(part.get("layers") or ""),
        "context": f"{context:,}" if isinstance(context, int) else "",
        "dtype": str(part.get("dtype") or ""),
        "attention": ", ".join(dict.fromkeys(str(m.get("kind")) for m in mixers if isinstance(m, dict))),
        "quantization": str(quantization.get("method") or "") if isinstance(quantization, dict) else "",
        "experts": "MoE" if view.has_experts() else "",
        "is_dense": "dense" if facts.get("feed_forward") and not view.has_experts() else "",
        "is_multimodal": ("yes" if view.is_multimodal() else "no") if "multimodal" in facts else "",
        "is_plain": "none" if "quantization" in facts and not quantization else "",
    }


def troubles_of(view: EvidenceView) -> list[tuple[str, Finding]]:
    """Errors and warnings of every step, with the step."""
    return [
        (step, finding)
        for step, known in view.gathered.steps.items()
        for finding in known.stored.findings
        if finding.severity is not Severity.INFO
    ]


def first_request(view: EvidenceView) -> str:
    """The body of the real gate's text request, as it was sent; empty if it was not kept."""
    gate = view.gate("real")
    sent = next((r for r in gate.requests if r.name == "text"), None) if gate is not None else None
    text = view.text("real", sent.request_attachment) if sent is not None else ""
    try:
        body: Any = json.loads(text)
    except ValueError:
        return ""
    return json.dumps(body, indent=4, ensure_ascii=False) if isinstance(body, dict) else ""


def tabs(docs: DocsDialect) -> str:
    """The image for each series, newest first, in the builder's own tabs."""
    image = docs.image or f"quay.io/ascend/vllm-ascend:{docs.macro}"
    if docs.builder == "mkdocs":
        parts = []
        for label, _, ending in SERIES:
            parts.append(
                f'=== "{label}"\n\n    ```bash\n    export IMAGE={image}{ending}\n    docker pull $IMAGE\n    ```\n'
            )
        return "\n".join(parts)
    items = []
    for label, sync, ending in SERIES:
        code = "```{code-block} bash\n   :substitutions:\n\n"
        code += f"export IMAGE={image}{ending}\ndocker pull $IMAGE\n```"
        items.append(f"::::{{tab-item}} {label}\n:sync: {sync}\n\n{code}\n\n::::")
    return ":::::{tab-set}\n:sync-group: install\n\n" + "\n\n".join(items) + "\n\n:::::\n"
