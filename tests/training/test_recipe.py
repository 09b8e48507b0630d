from __future__ import annotations

from pathlib import Path

import pytest

from ioi_bench.errors import InputError, UnknownNameError
from ioi_bench.training import Recipe, make_recipe, read_recipe

TEXT = """
d_sae = 32
epochs = 40
seeds = [0, 1]

[variants]
relu = [0.5, 1]
topk = [3]

[tactics]
decay = false
"""


def test_a_recipe_is_read_with_methods_defaults(tmp_path):
    (tmp_path / "r.toml").write_text(TEXT)
    recipe = read_recipe(tmp_path / "r.toml")
    assert recipe.variants == {"relu": (0.5, 1.0), "topk": (3.0,)}
    assert (recipe.batch_size, recipe.learning_rate, recipe.model) == (512, 3e-4, "ioi-mini")
    assert not recipe.tactics.decay
    assert recipe.tactics.resample
    assert recipe.kept[-1] == 40
    assert make_recipe(recipe.model_dump(mode="json"), "again") == recipe


def test_what_decides_the_weights_decides_the_hash():
    base = {"variants": {"topk": [3]}, "epochs": 40}
    hashes = {
        make_recipe(base | change, "").sha256
        for change in ({}, {"seeds": [1]}, {"tactics": {"adam_reset": False}}, {"resampling": {"after": [3]}})
    }
    assert len(hashes) == 4
    assert make_recipe(base | {"seeds": [0]}, "").sha256 in hashes  # the default, said


def test_tactics_switch_off_checkpoints_and_resampling():
    base = Recipe(variants={"topk": (3,)}, epochs=400)
    assert min(base.kept) == 1
    assert min(Recipe(variants={"topk": (3,)}, epochs=400, tactics={"dense_checkpoints": False}).kept) == 100
    off = Recipe(variants={"topk": (3,)}, epochs=400, tactics={"resample": False, "resample_warmup": False})
    assert base.resample_after == (101, 201)
    assert (base.resample_warmup, off.resample_warmup, off.resample_after) == (20, 0, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, "unknown setting 'epoch': did you mean 'epochs'"),
        ({"lr": 3}, "unknown setting 'lr': expected one of: variants, model"),
        ({"epochs": 0}, "epochs: "),
        ({"learning_rate": float("inf")}, "learning_rate: "),
        ({"seeds": []}, "seeds: "),
        ({"seeds": [1, 1]}, "same seed"),
        ({"variants": {}}, "variants: "),
        ({"variants": {"topk": []}}, "topk has no k"),
        ({"variants": {"topk": [3, 3]}}, "topk has the same k twice"),
        ({"variants": {"topk": [513]}}, "k is 513, expected a whole number from 1 to d_sae = 512"),
        ({"variants": {"relu": [-1.0]}}, "λ is -1"),
        ({"checkpoints": [41]}, r"epochs \[41\] .* beyond the last, 40"),
        ({"resampling": {"after": [44]}}, r"epochs \[44\] .* beyond the last, 40"),
        ({"tactics": {"decays": True}}, "unknown setting 'decays': did you mean 'decay'"),
        ({"precision": "int8"}, "precision: "),
        ({"variants": {"topk": ["many"]}}, "variants.topk.0: "),
        ({"variants": {"topk": ["3"]}}, "variants.topk.0: "),
        ({"variants": {"topk": [True]}}, "variants.topk.0: "),
        ({"variants": {"topk": [float("inf")]}}, "k is inf"),
        ({"variants": {"topk": [float("nan")]}}, "k is nan"),
        ({"variants": {"relu": [float("nan")]}}, "λ is nan"),
    ],
)
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(InputError, match=message):
        make_recipe({"variants": {"topk": [3]}, "epochs": 40} | change, "my.toml")


def test_an_unknown_variant_is_named_with_near_misses():
    with pytest.raises(InputError, match="unknown variant 'gatet': did you mean 'gated'"):
        make_recipe({"variants": {"gatet": [3]}}, "my.toml")
    with pytest.raises(UnknownNameError):
        Recipe(variants={"gatet": (3,)})


def test_no_file_and_no_toml(tmp_path):
    with pytest.raises(InputError, match="there is no recipe"):
        read_recipe(tmp_path / "r.toml")
    (tmp_path / "r.toml").write_bytes(b"\xff = ")
    with pytest.raises(InputError, match="is no TOML"):
        read_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "reference_saes" / "recipes").glob("*.toml")), ids=str
)
def test_shipped_recipes_are_read(path):
    assert read_recipe(path).model in ("ioi-mini", "gpt2")


def test_the_gpt2_recipe_is_methods():
    recipe = read_recipe(Path(__file__).parents[2] / "reference_saes" / "recipes" / "gpt2.toml")
    assert recipe.kept == (1, 2, 4, 8, 16, 32, 64, 128, 500, 750, 1000, 1250, 1500, 2000)
    assert (recipe.resample_after, recipe.resample_warmup, recipe.warmup_epochs) == ((501, 1001), 100, 0)
    assert recipe.variants["gated"] == (0.5, 1.0, 2.5, 5.0)
    assert recipe.variants["topk"] == (3, 6, 12, 24)
    assert (recipe.d_sae, recipe.epochs, recipe.batch_size, recipe.learning_rate) == (512, 2000, 512, 3e-4)
