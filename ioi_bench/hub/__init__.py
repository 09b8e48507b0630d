"""The Hugging Face Hub as a source of dictionaries: ``hf://org/repo[@revision]/sub/folder``."""

from ioi_bench.hub.address import HubAddress
from ioi_bench.hub.fetch import open_hub

__all__ = ["HubAddress", "open_hub"]
