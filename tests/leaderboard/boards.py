"""Small leaderboards in a folder, honest or forged."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from ioi_bench.evaluation.card import Card
from ioi_bench.evaluation.prompts_file import schema
from ioi_bench.evaluation.prompts_reading import read_prompts
from ioi_bench.evaluation.recompute import layout_of, recomputed, scope_of
from ioi_bench.leaderboard.checks import track_circuit
from ioi_bench.leaderboard.records import Submission
from ioi_bench.leaderboard.results import CARD, PROMPTS, SUBMISSION, entry_folder
from ioi_bench.task import task_spec


def hand_in(root, card, prompts, suite, **said):
    """Write a submission below ``root/results``; its folder."""
    submission = Submission(
        **{
            "name": "my-lab/topk",
            "authors": ("Ada",),
            "training_data": "the train split of ioi-v1-mini",
            "licence": "Apache-2.0",
            "suite": str(suite),
            "suite_sha256": card.made.suite_sha256,
            **said,
        }
    )
    folder = entry_folder(root / "results", card.track, submission)
    folder.mkdir(parents=True)
    card.write(folder / CARD)
    shutil.copyfile(prompts, folder / PROMPTS)
    (folder / SUBMISSION).write_text(tomli_w.dumps(submission.model_dump(mode="json", exclude_none=True)))
    return folder


def changed(card, *steps, to):
    """The card with one value changed: ``changed(card, "cells", 0, "no_edit", "value", to=0.5)``."""
    data = json.loads(card.model_dump_json())
    at = data
    for step in steps[:-1]:
        at = at[step]
    assert steps[-1] in at or isinstance(at, list)
    at[steps[-1]] = to
    return Card.model_validate(data)


def consistent(card, prompts, target, edit, split=None):
    """A forgery that bears itself out: results per prompt edited in place by ``edit``, every figure made of them anew.

    Writes the table to ``target``; the card to go with it. The prompts are those of ``test``, or of ``split``.
    """
    frame = pd.read_parquet(prompts)
    edit(frame)
    pq.write_table(pa.Table.from_pandas(frame, schema=schema(), preserve_index=False), target)
    split = split or task_spec(card.made.spec).split("test").head(card.made.n_prompts)
    scope = scope_of(card, track_circuit(card.track), split)
    return recomputed(card, scope, read_prompts(target, layout_of(card, scope), split.prompts))
