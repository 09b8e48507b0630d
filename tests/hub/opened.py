"""Run in a process of its own, for HF_ENDPOINT is read at import: opens addresses, prints what came of each as JSON."""

from __future__ import annotations

import json
import sys
import warnings

from ioi_bench.errors import IoiBenchError
from ioi_bench.hub import open_hub


def opened(address: str) -> dict:
    told: list[tuple] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            source = open_hub(address, progress=lambda *report: told.append(report))
        except IoiBenchError as error:
            return {"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
    return {
        "path": str(source.path),
        "origin": source.origin,
        "revision": source.revision,
        "files": list(source.files),
        "sizes": {name: source.file(name).stat().st_size for name in source.files},
        "progress": told,
        "warnings": [str(warning.message) for warning in caught if "hf://" in str(warning.message)],
    }


sys.stdout.write(json.dumps([opened(address) for address in sys.argv[1:]]))
