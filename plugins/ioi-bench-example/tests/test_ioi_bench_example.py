"""The template as its users have it: installed, found by its entry point, and scored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parents[1]

USE = """
import json, sys
from pathlib import Path
import torch
from ioi_bench import evaluate
from ioi_bench.dictionaries.suite import Suite, save_suite
from ioi_bench.plugins import Plugins
from ioi_bench.sites import Site

plugins = Plugins.load()
Threshold = plugins.architectures["threshold"]
x = torch.eye(32)
sae = Threshold(W_enc=x, b_enc=torch.zeros(32), W_dec=x, b_dec=torch.zeros(32), threshold=0.5)
print(sae.encode(torch.tensor([[0.4, 0.5, 0.6, -1.0] + [0.0] * 28]))[0, :4].tolist(), file=sys.stderr)
sites = [Site.parse(f"z.3.{head}@end") for head in (0, 1)]
save_suite(Suite("mine", "ioi-mini", dict.fromkeys(sites, sae)), "mine")
card = evaluate("mine", prompts=20, train_prompts=200, budgets=(1,), methods=("exchange",), plugins=plugins)
listed = {info.name: info.origin for info in plugins.infos}
print(json.dumps({"plugins": listed, "problems": list(map(str, plugins.check())), "suite": card.made.suite}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A virtual environment that sees this one's libraries, with a copy of the package installed into it."""
    folder = tmp_path_factory.mktemp("installed")
    copy = shutil.copytree(PACKAGE, folder / "package", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    executable = folder / "venv" / "bin" / "python"
    site = subprocess.run(
        [executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (Path(site) / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", executable, "install", "--quiet", "--no-index"]
    install += ["--disable-pip-version-check", "--no-deps", "--no-build-isolation", "-e", copy]
    done = subprocess.run(list(map(str, install)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return executable


def run(python, tmp_path, *args):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [str(python), *args], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_it_is_found_and_its_suites_are_stored_loaded_and_scored(python, tmp_path):
    done = run(python, tmp_path, "-c", USE)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["plugins"]["example"] == "ioi-bench-example 0.1.0"
    assert said["problems"] == []
    assert said["suite"] == "mine"
    assert done.stderr.strip().splitlines()[0] == "[0.0, 0.0, 0.6000000238418579, 0.0]"
    assert json.loads((tmp_path / "mine" / "suite.json").read_text())["dictionaries"]["z.3.0@end"] == {
        "architecture": "threshold",
        "d_in": 32,
        "d_sae": 32,
        "settings": {"scale": 1.0, "threshold": 0.5},
    }


def test_the_command_line_knows_it(python, tmp_path):
    main = "from ioi_bench.cli import main; main()"
    done = run(python, tmp_path, "-c", main, "plugins", "check", "example")
    assert (done.returncode, done.stdout) == (0, "example is sound: it gives 1 architecture\n"), done.stderr


def test_the_module_stays_as_short_as_a_template_should():
    lines = (PACKAGE / "ioi_bench_example.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(("#", '"""', "import", "from"))]
    assert len(code) <= 15
