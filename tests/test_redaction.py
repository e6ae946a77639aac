"""Credentials of an address are used, and neither written nor shown."""

from __future__ import annotations

import io
import pickle

import pytest
from rich.console import Console

from pie_ray import cli, stages
from pie_ray.analysis import open_results
from pie_ray.console import print_results
from pie_ray.errors import RecipeError, StoreError
from pie_ray.member import run_member
from pie_ray.recipe import dump_recipe, parse_recipe
from pie_ray.redaction import without_secrets
from pie_ray.reporting import analyze_source
from pie_ray.store import ParquetSink
from pie_ray.study import prepare
from pie_ray.tracking import RecordingTracker, SweepInfo, make_tracker
from pie_ray.workplace import Workplace
from tests.s3 import s3_server

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:hunter2@bucket/a", "s3://bucket/a"),
        ("s3://key:hun/ter2@bucket/a", "s3://bucket/a"),
        ("cannot open 's3://key:hunter2@bucket/a'; see http://me@host:80/b", "cannot open 's3://bucket/a'; see http://host:80/b"),
        ("postgresql://me:hunter2@host:5432/db failed", "postgresql://host:5432/db failed"),
        ("http://host?a=1&Api_Token=hunter2&b=2", "http://host?a=1&Api_Token=***&b=2"),
        ("mysql://host/db?password=hunter2", "mysql://host/db?password=***"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("s3://bucket/a@b?region=c", "s3://bucket/a@b?region=c"),
        ("no address: me@host", "no address: me@host"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_credentials(text, shown):
    assert without_secrets(text) == shown


def test_no_error_of_ours_carries_credentials():
    error = StoreError(f"cannot open s3://key:{SECRET}@bucket")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "cannot open s3://bucket"
    with pytest.raises(RecipeError) as raised:
        parse_recipe("name: a", [f"execution.tracking.uri.a=http://me:{SECRET}@host", "execution.tracking=1"])
    assert SECRET not in str(raised.value)


@pytest.fixture
def server(tmp_path, monkeypatch):
    with s3_server(tmp_path) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def tracker(monkeypatch):
    """Keeps what the sweep tells it; the address that it was asked for is `uri`."""
    found = RecordingTracker()

    def make(config, default_uri):
        found.uri = config.uri
        return found

    monkeypatch.setattr(stages, "make_tracker", make)
    return found


def test_a_sweep_writes_and_shows_no_credentials(server, tracker, tiny_text, tmp_path):
    storage = server.uri().replace("s3://", f"s3://key:{SECRET}@")
    tracking_uri = f"http://me:{SECRET}@127.0.0.1:9"
    tracking = f"execution.tracking={{kind: mlflow, uri: '{tracking_uri}'}}"
    recipe = parse_recipe(tiny_text, [f"execution.storage={storage}", tracking])
    console = Console(file=io.StringIO(), width=200)

    study = prepare(recipe)
    for spec in study.plan.members:
        run_member(spec, Workplace(recipe, study.splits, study.storage, ParquetSink(study.storage)))
    results = stages.reopen_results(stages.sweep(recipe, console), recipe)
    analysis = analyze_source(results, console)
    artifacts = stages.report(results, analysis, console)
    outcome = stages.track(results, analysis, artifacts, console)
    print_results(console, study.storage, analysis, outcome.ui_hint)

    assert tracker.uri == tracking_uri
    assert "recipe.yaml" in study.storage.list_files() and "report/index.html" in study.storage.list_files()
    written = {path: study.storage.read_bytes(path) for path in study.storage.list_files()}
    assert [path for path, data in {**written, **tracker.artifacts}.items() if SECRET.encode() in data] == []
    assert SECRET not in repr(tracker.sweep) + tracker.message
    shown = console.file.getvalue()
    assert "s3://bucket/results/tiny?endpoint_override=" in shown and SECRET not in shown


def test_a_recipe_read_back_lacks_nothing_but_the_credentials(tiny_text):
    recipe = parse_recipe(tiny_text, [f"execution.storage=s3://key:{SECRET}@bucket/a"])
    assert parse_recipe(dump_recipe(recipe)) == parse_recipe(tiny_text, ["execution.storage=s3://bucket/a"])


def test_an_mlflow_that_is_down_is_told_of_without_credentials(tmp_path, tiny_recipe):
    tracking = parse_recipe(dump_recipe(tiny_recipe), ["execution.tracking={kind: mlflow}"]).execution.tracking
    tracking = tracking.model_copy(update={"uri": f"http://me:{SECRET}@127.0.0.1:9"})
    prepare(tiny_recipe)
    found = make_tracker(tracking, default_uri="")
    results = open_results(prepare(tiny_recipe).storage)
    found.start(SweepInfo("a", "b", {}, results=results.storage.uri))
    outcome = found.finish("incomplete", "0 of 1 members")
    assert not outcome.ok and "http://127.0.0.1:9" in outcome.message
    assert SECRET not in outcome.message + outcome.ui_hint


def test_a_command_that_fails_shows_no_credentials(server, capsys, tiny_text, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(tiny_text)
    server.fail("denied")
    storage = server.uri().replace("s3://", f"s3://key:{SECRET}@")
    assert cli.main(["sweep", str(recipe), "--storage", storage]) == cli.BAD_INPUT
    shown = capsys.readouterr()
    assert "access denied" in shown.err and SECRET not in shown.out + shown.err
