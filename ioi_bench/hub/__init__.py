"""The Hugging Face Hub: dictionaries from ``hf://org/repo[@revision]/sub/folder``, snapshots and uploads."""

from ioi_bench.hub.address import HubAddress
from ioi_bench.hub.fetch import open_hub

__all__ = ["HubAddress", "open_hub"]
