"""docs/testing-kit.md: its example runs, its message is what the kit says, its tables are the checks there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ioi_bench.editing import EDITS
from ioi_bench.errors import ConformanceError
from ioi_bench.plugins.records import Loader
from ioi_bench.testing import DictionaryCase, EditCase, LoaderCase, MetricCase, check_dictionary

PAGE = (Path(__file__).parents[2] / "docs" / "testing-kit.md").read_text()


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S)
    return found


def test_the_example_runs_in_an_authors_own_pytest(tmp_path):
    (tmp_path / "test_my_plugin.py").write_text(block("python"))
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "test_my_plugin.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert re.search(r"^passed +edit strongest +accounting", done.stdout, flags=re.M)


def test_the_message_on_the_page_is_what_the_kit_says():
    class Squashed:
        d_in, d_sae = 4, 8

        def encode(self, x):
            return torch.relu(x @ torch.ones(4, 8))

        def decode(self, f):
            return torch.tanh(f @ torch.ones(8, 4))

    with pytest.raises(ConformanceError) as caught:
        check_dictionary(Squashed())
    said, shown = (
        re.sub(r"error of [\d.]+", "error of …", text.strip()) for text in (str(caught.value), block("text"))
    )
    assert said == shown


@pytest.mark.parametrize(
    ("heading", "case"),
    [
        ("Dictionaries", DictionaryCase(None)),
        ("Loaders", LoaderCase(Loader("any", "Any.", lambda s, o: None, lambda s, o: None), ".")),
        ("Edit methods", EditCase(EDITS["split"])),
        ("Metrics", MetricCase(abs, {"x": torch.ones(3)})),
    ],
)
def test_the_tables_are_the_checks_that_are_made(heading, case):
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S).group(1)
    assert re.findall(r"^\| `(.+?)` \| (.+?) \|$", section, flags=re.M) == [(c.name, c.claim) for c in case.checks]
