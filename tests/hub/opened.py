"""A process that opens addresses: HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE are read when huggingface_hub is imported.

Each line of stdin is ``{"environment": …, "addresses": […], "result": path}``. For each, a child is forked before
huggingface_hub is imported, sets the environment, opens the addresses and writes what came of them to the path; its
exit status is the line on stdout. Forking saves importing torch each time.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from pathlib import Path

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


def child(request: dict) -> int:
    """What the forked process does; its stderr is a file beside the result."""
    result = Path(request["result"])
    said = os.open(result.with_suffix(".stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
        del os.environ[name]
    os.environ.update(request["environment"])
    try:
        result.write_text(json.dumps([opened(address) for address in request["addresses"]]))
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
    return 0


def main() -> None:
    assert "huggingface_hub" not in sys.modules, "it reads its settings at import, so not before the fork"
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            os._exit(child(json.loads(line)))
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
