"""What a wheel carries beyond the package: the reference suites, which a checkout has at its root."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Bundled(BuildHookInterface):
    """Puts manifest.json and the suites of ioi-mini where `ioi_bench.reference.bundled` finds them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install finds them in the checkout: a copy of them would go stale."""
        if version == "editable":
            return
        for name in ("manifest.json", "ioi-mini"):
            build_data["force_include"][f"reference_saes/{name}"] = f"ioi_bench/reference/bundled/{name}"
