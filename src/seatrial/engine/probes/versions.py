"""Every installed distribution with its version, read from metadata; nothing is imported.

Request: `{}`. Answer: `{"name": "version", ...}`, sorted by name.
"""

import importlib.metadata


def probe(request, progress):
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name, distribution.version)
    return dict(sorted(found.items()))
