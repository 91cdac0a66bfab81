"""docs/schema/accuracy-*.json: the documents of an accuracy run."""

from __future__ import annotations

import json

from seatrial.core.record import json_schema
from seatrial.measure.accuracy.records import DatasetConfig, Prediction, RequestConfig, Score

DOCUMENTS = {
    "request_config": (RequestConfig, "request_config.json of an accuracy run"),
    "dataset_config": (DatasetConfig, "dataset_config.json of an accuracy run"),
    "prediction": (Prediction, "a line of raw_predictions.jsonl and failed_cases.jsonl of an accuracy run"),
    "score": (Score, "score.json of an accuracy run"),
}


def pages() -> dict[str, str]:
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {
        f"schema/accuracy-{name}.json": json.dumps(
            {"$schema": draft, "title": title, **json_schema(kind)}, indent=2, sort_keys=True
        )
        + "\n"
        for name, (kind, title) in DOCUMENTS.items()
    }
