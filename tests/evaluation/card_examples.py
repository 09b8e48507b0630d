"""Cards to test with."""

from __future__ import annotations

from ioi_bench.evaluation.anchor_records import (
    Anchor,
    AnchorCell,
    AnchorEdits,
    AnchorsMade,
    CardAnchors,
    TrackAnchors,
    TrackCell,
)
from ioi_bench.evaluation.card import (
    Card,
    CardCell,
    CardWarning,
    CellScore,
    CrossSectionFigures,
    EditFigures,
    ExplainedFigures,
    Faithfulness,
    Figure,
    GeometryFigures,
    HeadlineScore,
    Made,
    NullFigures,
)


def some_figure(value: float = 0.5, direction: str = "higher") -> Figure:
    return Figure(value=value, low=value - 0.1, high=value + 0.1, direction=direction)


def some_edit(method: str, budget: int, accuracy: float = 0.5, weight: float = 0.4) -> EditFigures:
    names = set(EditFigures.model_fields) - {"method", "budget", "n_removed", "n_added", "nan_dropped", "metrics"}
    figures = {name: some_figure() for name in names}
    figures |= {"accuracy": some_figure(accuracy), "weight": some_figure(weight, "lower")}
    return EditFigures(method=method, budget=budget, n_removed=1.0, n_added=1.0, nan_dropped=0, **figures)


def some_cell(name: str = "io@nm-out", *, ranked: bool = True) -> CardCell:
    attribute, cross_section = name.split("@")
    faithfulness = {field: some_figure() for field in Faithfulness.model_fields if field != "ld_recovered_reliable"}
    null = NullFigures(budgets=(1, 2, 4), accuracy=(0.0, 0.1, 0.2), weight=(0.1, 0.2, 0.3), seeds=3)
    score = CellScore(s=some_figure(), s_null=some_figure(0.0, "none"), score=some_figure(0.6), null=null)
    edits = [
        ("exchange", 1, 0.1, 0.2),
        ("exchange", 2, 0.6, 0.5),
        ("universal", 1, 0.05, 0.3),
        ("universal", 2, 0.3, 0.6),
    ]
    return CardCell(
        name=name,
        attribute=attribute,
        cross_section=cross_section,
        sites=("z.3.0@end", "z.3.1@end"),
        headline=True,
        ranked=ranked,
        reason="" if ranked else "no-edit is as good as the skyline",
        no_edit=some_figure(0.02),
        skyline={"mean": some_edit("skyline", 1, 0.9, 0.45)},
        edits=tuple(some_edit(*edit) for edit in edits),
        scores={"exchange": score},
        faithfulness=Faithfulness(ld_recovered_reliable=True, **faithfulness),
    )


def some_cross_section(name: str = "nm-out") -> CrossSectionFigures:
    kinds = {"io": some_figure(0.3, "none"), "io-names": some_figure(0.2, "none")}
    explained = [
        ExplainedFigures(threshold=t, share=some_figure(), kinds=kinds, kept=some_figure(0.7), removed=some_figure(0.6))
        for t in (0.5, 0.8)
    ]
    cosines = GeometryFigures(codes_to_features=some_figure(0.9), features_to_codes=some_figure(0.4))
    return CrossSectionFigures(
        name=name,
        sites=("z.3.0@end", "z.3.1@end"),
        explained=tuple(explained),
        geometry=dict.fromkeys(("io", "s", "pos"), cosines),
    )


def some_anchors() -> CardAnchors:
    def row(name: str, score: float) -> Anchor:
        edits = AnchorEdits(
            budgets=(1, 2), accuracy=(0.1, 0.2), weight=(0.3, 0.4), s=some_figure(0.1), score=some_figure(score)
        )
        cells = tuple(AnchorCell(name=cell, edits={"exchange": edits}) for cell in ("io@nm-out", "pos@si-out"))
        return Anchor(name=name, summary=f"what {name} is", headline={"exchange": some_figure(score)}, cells=cells)

    made = AnchorsMade(
        scoring="ioi-v1.2",
        model="ioi-mini",
        model_sha256="b",
        circuit="ioi-mini",
        circuit_sha256="c",
        spec="ioi-v1-mini",
        spec_sha256="a",
        split="test",
        n_prompts=1000,
        n_train_prompts=20_000,
        seed=0,
        n_draws=1000,
        versions={"torch": "2.13.0"},
    )
    cells = tuple(
        TrackCell(
            name=name,
            ranked=True,
            reason="",
            no_edit=some_figure(0.02),
            skyline=some_figure(0.9),
            skyline_weight=some_figure(0.45),
        )
        for name in ("io@nm-out", "pos@si-out")
    )
    track = TrackAnchors(made=made, cells=cells, rows=(row("pca", 0.3), row("das", 0.8)))
    return CardAnchors(track=track, note="", suite=(row("permuted-decoder", -0.1),))


def some_card(*names: str) -> Card:
    names = names or ("io@nm-out", "pos@si-out")
    made = Made(
        spec="ioi-v1-mini",
        spec_sha256="a",
        model="ioi-mini",
        model_sha256="b",
        circuit="ioi-mini",
        circuit_sha256="c",
        suite="topk",
        suite_sha256="d",
        split="test",
        n_prompts=10,
        n_train_prompts=20_000,
        full_train=True,
        budgets=(1, 2),
        methods=("exchange", "universal"),
        seed=0,
        n_draws=1000,
        device="cpu",
        versions={"torch": "2.13.0"},
        hardware={"machine": "x86_64"},
        wall_seconds=1.5,
        timing={"capture": 1.0},
    )
    return Card(
        track="ioi-mini",
        made=made,
        headline={"exchange": HeadlineScore(score=some_figure(0.6), n_cells=1)},
        cells=tuple(some_cell(name) for name in names),
        anchors=some_anchors(),
        cross_sections=tuple(some_cross_section(name) for name in dict.fromkeys(name.split("@")[1] for name in names)),
        warnings=(CardWarning(code="dead-features", message="3 of 8 features never fire"),),
    )
