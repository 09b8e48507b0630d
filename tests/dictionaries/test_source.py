"""Pickles are read as data, or refused by the name of what they would run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from ioi_bench.dictionaries.source import Source
from ioi_bench.errors import SuiteError


class Payload:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (self.witness,)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_that_wants_code_is_named_whatever_its_protocol(tmp_path, protocol, zipped):
    witness, file = str(tmp_path / "it-ran"), tmp_path / "bad.pt"
    content = pickle.dumps({"W_enc": torch.zeros(2), "x": Payload(witness)}, protocol=protocol)
    if zipped:  # as torch.save lays it out
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("bad/data.pkl", content)
            archive.writestr("bad/version", "3\n")
    else:
        file.write_bytes(content)
    with pytest.raises(SuiteError, match=r"wants to run code \(\w+\.mkdir\), which is never done") as caught:
        Source(file, "bad.pt").pt("bad.pt")
    assert "weights_only" not in str(caught.value)
    assert not Path(witness).exists()


def test_a_damaged_file_is_not_accused(tmp_path):
    file = tmp_path / "cut.pt"
    torch.save({"W": torch.zeros(100)}, file)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(SuiteError, match="damaged") as caught:
        Source(file, "cut.pt").pt("cut.pt")
    assert "run code" not in str(caught.value)


def test_tensors_are_read(tmp_path):
    torch.save({"W": torch.arange(3.0)}, tmp_path / "good.pt")
    assert Source(tmp_path / "good.pt", "good.pt").pt("good.pt")["W"].tolist() == [0, 1, 2]
