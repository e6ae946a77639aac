"""The best members as MLflow's logged models: loaded again, they answer as they did in the sweep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pie_ray.analysis import Results, open_results
from pie_ray.cli import main
from pie_ray.data import load_splits
from pie_ray.errors import StoreError
from pie_ray.packaged import load_network
from pie_ray.tracked import best_networks
from tests.swept import sweep_here
from tests.tracking.logged import Logged

BEST = "execution.tracking={kind: mlflow, log_models: best}"


def sweep_beside_a_store(folder: Path, migrated: bytes, *overrides: str) -> Results:
    results = sweep_here(folder, *overrides)
    (folder / "results" / "mlflow.db").write_bytes(migrated)
    return results


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, migrated: bytes) -> Results:
    """Logged as `pie-ray track` does."""
    results = sweep_beside_a_store(tmp_path_factory.mktemp("best"), migrated, BEST)
    assert main(["track", results.storage.uri]) == 0
    return results


@pytest.fixture
def uri(swept: Results, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return f"sqlite:///{Path(swept.storage.uri).parent}/mlflow.db"


def models(uri: str) -> dict[str, Any]:
    """By variant."""
    logged = Logged(uri)
    found = logged.client.search_logged_models([logged.experiment.experiment_id])
    return {model.tags["pie_ray.variant_id"]: model for model in found}


@pytest.mark.parametrize("variant_id", ["dense", "magnitude-0.50", "static_int8"])
def test_a_loaded_network_gives_the_stored_logits(
    swept: Results, uri: str, variant_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    best = max((r for r in swept.records if r.variant_id == variant_id), key=lambda r: (r.top1["test"], -r.seed))
    model = models(uri)[variant_id]
    assert model.tags["pie_ray.member_id"] == best.member_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    network = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    images = load_splits(swept.recipe.data).test.images.numpy()
    stored = swept.population("test", variant_id, ("prediction", "logits"))
    assert stored is not None
    member = list(stored.seeds).index(best.seed)
    logits = network.predict(images)
    np.testing.assert_array_equal(logits, stored.arrays["logits"][member])
    np.testing.assert_array_equal(logits.argmax(1), stored.arrays["prediction"][member])
    example = network.input_example
    np.testing.assert_array_equal(network.predict(np.asarray(example, dtype=np.uint8)), logits[: len(example)])
    with pytest.raises(Exception, match=r"shape|incompatible"):
        network.predict(images[:, :, :4])


def test_nothing_in_a_logged_model_is_pickle_and_it_names_what_it_needs(uri: str) -> None:
    folder = Path(models(uri)["dense"].artifact_location.removeprefix("file://"))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    ours = {f"data/network/{name}" for name in ("checkpoint.safetensors", "recipe.yaml", "member.json", "facts.json")}
    assert {"MLmodel", *ours} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]
    assert "pie_ray==" in (folder / "requirements.txt").read_text()
    assert json.loads((folder / "data/network/facts.json").read_text())["class_names"] == [str(n) for n in range(10)]


def test_logging_again_keeps_the_models_and_a_better_member_replaces_one(swept: Results, uri: str) -> None:
    before = {variant_id: model.model_id for variant_id, model in models(uri).items()}
    assert main(["track", swept.storage.uri]) == 0
    assert {variant_id: model.model_id for variant_id, model in models(uri).items()} == before
    runs = {run.info.run_name: run for run in Logged(uri).variants}
    assert [out.model_id for out in runs["dense"].outputs.model_outputs] == [before["dense"]]


def test_the_best_is_right_most_often_and_the_first_among_equals(swept: Results) -> None:
    dense = [record for record in swept.records if record.variant_id == "dense"]

    def best(*top1: float) -> int:
        records = {r.member_id: r.model_copy(update={"top1": {"test": v}}) for r, v in zip(dense, top1, strict=True)}
        (found,) = best_networks(replace(swept, found=replace(swept.found, records=records)))
        return found.seed

    assert (best(0.5, 0.6), best(0.6, 0.5), best(0.5, 0.5)) == (1, 0, 0)


def test_a_damaged_checkpoint_is_told_and_the_rest_is_logged(
    tmp_path: Path, migrated: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    results = sweep_beside_a_store(tmp_path, migrated, BEST, "population.num_members=1")
    (tmp_path / "results/tiny/checkpoints/dense/0.safetensors").write_bytes(b"damaged")
    assert main(["track", results.storage.uri]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "lacks 1 of 3 networks" in text and "checkpoints/dense/0.safetensors" in text
    logged = Logged(f"sqlite:///{tmp_path}/results/mlflow.db")
    assert len(logged.members) == 3 and logged.parent.info.status == "FINISHED"
    assert set(models(f"sqlite:///{tmp_path}/results/mlflow.db")) == {"magnitude-0.50", "static_int8"}


def test_a_folder_that_is_no_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no network packed by pie_ray"):
        load_network(str(tmp_path))


def test_nothing_is_kept_where_it_was_not_asked_for(tmp_path: Path, migrated: bytes) -> None:
    results = sweep_beside_a_store(tmp_path, migrated, "execution.tracking={kind: mlflow}", "population.num_members=1")
    assert main(["track", results.storage.uri]) == 0
    assert models(f"sqlite:///{tmp_path}/results/mlflow.db") == {}
    assert open_results(results.storage).recipe.execution.tracking == results.recipe.execution.tracking
