"""`pie-ray status` of a results folder: in what state, how far, why; by what was told and by what is there."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from rich.console import Console

from pie_ray.cli import main
from pie_ray.commands import status as command
from pie_ray.commands.status import results_of
from pie_ray.commands.status_view import status_line, status_view
from pie_ray.live.status import last_analysis, look, progress_of
from pie_ray.progress import ClusterUse, Failure, SweepProgress, VariantProgress
from pie_ray.store import Storage, hold_lease, paths, write_progress, write_table
from pie_ray.store.driver import Driver
from tests.s3 import s3_server

from .conftest import complete

TOLD = SweepProgress(
    state="running",
    started_at="2026-03-01T12:00:00+00:00",
    updated_at="2026-03-01T12:10:00+00:00",
    driver="ann on far, process 7",
    num_members=6,
    num_done=2,
    num_running=2,
    num_failed=1,
    num_retried=1,
    variants={
        "dense": VariantProgress(num_members=2, num_done=1, num_failed=1),
        "magnitude-0.50": VariantProgress(num_members=2, num_done=1),
        "static_int8": VariantProgress(num_members=2),
    },
    failures=(
        Failure(variant_id="dense", seed=1, reason="first", at="2026-03-01T12:05:00+00:00", is_final=False),
        Failure(variant_id="dense", seed=1, reason="why [not]", at="2026-03-01T12:06:00+00:00", is_final=True),
    ),
    members_per_hour=12.0,
    seconds_left=1200.0,
    cluster=ClusterUse(num_nodes=3, cpus=24.0, cpus_used=7.5, gpus=1.0, gpus_used=0.5),
)
NOW = datetime(2026, 3, 1, 12, 10, 4, tzinfo=UTC)


def write_driver(storage, **changes) -> Driver:
    driver = Driver(**{"state": "driving", "user": "ann", "host": "far", "pid": 7, "machine": "elsewhere", **changes})
    storage.write_bytes(paths.driver(driver.id), driver.model_dump_json().encode())
    return driver


def seen(storage, width=80, now=NOW) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(status_view(look(storage), now))
    return [line.rstrip() for line in out.getvalue().splitlines()]


# ------------------------------------------------------------------------------------------------------- states


def test_a_driver_that_lives_is_believed(begun):
    write_progress(begun.storage, TOLD)
    with hold_lease(begun.storage, print):
        status = look(begun.storage)
    assert (status.state, status.progress, status.driver.lives) == ("running", TOLD, True)
    write_driver(begun.storage)
    status = look(begun.storage)
    assert (status.state, status.driver.driver.host) == ("running", "far")


def test_a_driver_that_has_not_told_yet_has_its_members_counted(begun):
    complete(begun, begun.plan.members[:3])
    write_progress(begun.storage, TOLD.model_copy(update={"state": "failed"}))
    write_driver(begun.storage)
    status = look(begun.storage)
    assert (status.state, status.progress.num_done, status.progress.failures) == ("running", 3, ())


@pytest.mark.parametrize("whose", ["of this machine", "elsewhere"])
def test_a_driver_that_was_killed_has_left_it_running(begun, whose, monkeypatch):
    write_progress(begun.storage, TOLD)
    complete(begun, begun.plan.members[:3])
    if whose == "elsewhere":
        write_driver(begun.storage)
        monkeypatch.setattr("pie_ray.store.lease.EXPIRY_SECONDS", -1.0)
    else:
        write_driver(begun.storage, machine=Driver().machine, process_started="1")
    status = look(begun.storage)
    assert status.state == "lost" and not status.driver.lives
    told = status.progress
    assert (told.num_done, told.num_running, told.seconds_left, told.cluster) == (3, 0, None, None)
    assert told.variants["dense"] == VariantProgress(num_members=2, num_done=2, num_failed=1)

    begun.storage.delete(begun.storage.list_files(paths.DRIVERS)[0])
    assert look(begun.storage).state == "lost"


@pytest.mark.parametrize("state", ["failed", "stopped", "incomplete"])
def test_a_sweep_that_ended_before_it_was_complete(begun, state):
    write_progress(begun.storage, TOLD.model_copy(update={"state": state, "note": "the disk is full"}))
    complete(begun, begun.plan.members[:1])
    status = look(begun.storage)
    assert (status.state, status.progress.num_done, status.progress.note) == (state, 1, "the disk is full")


def test_what_is_complete_is_complete_whatever_was_told(begun):
    complete(begun, begun.plan.members)
    assert look(begun.storage).state == "complete"
    for state in ("running", "failed", "stopped", "complete"):
        write_progress(begun.storage, TOLD.model_copy(update={"state": state, "note": "trouble"}))
        status = look(begun.storage)
        told = status.progress
        assert (status.state, told.num_done, told.num_failed, told.note) == ("complete", 6, 0, "")
    begun.storage.delete(paths.member("dense", 1))
    status = look(begun.storage)
    assert (status.state, status.progress.num_done) == ("incomplete", 5)


@pytest.mark.parametrize("content", [None, b"{", b'{"state": "running", "of": "another version"}'])
def test_results_without_progress_are_counted(begun, content):
    if content is not None:
        begun.storage.write_bytes(paths.PROGRESS, content)
    complete(begun, begun.plan.members[:2])
    status = look(begun.storage)
    assert (status.name, status.state, status.progress.num_done) == ("tiny", "incomplete", 2)
    assert status.progress.started_at == status.progress.updated_at == begun.manifest.created


# ------------------------------------------------------------------------------------------------------ the view


def test_a_running_sweep_at_80_columns(begun, in_utc):
    write_progress(begun.storage, TOLD)
    write_driver(begun.storage)
    lines = seen(begun.storage, width=80)
    shown = [" ".join(line.split()) for line in lines if not line.startswith("  results")]
    assert [line for line in shown if "━" not in line and "far" in line] == ["driver ann on far, process 7"]
    expected = [
        "tiny is running",
        "began 01 Mar 12:00",
        "members 2 of 6 complete, 2 running, 1 failed, 1 tried again",
        "pace 12 members an hour; about 20 min 00 s left",
        "cluster 3 nodes, 7.5 of 24 CPUs taken, 0.5 of 1 GPU taken",
        "last told 4 s ago",
        "01 Mar 12:06 dense seed 1 failed why [not]",
        "01 Mar 12:05 dense seed 1 tried again first",
        "static_int8 0/2",
    ]
    assert [line for line in shown if line in expected] == expected
    assert any(line.startswith("dense ━") and line.endswith("1/2 1 failed") for line in shown)
    assert all(len(line) <= 80 for line in lines if str(begun.storage) not in line)
    assert len({line.index("━") for line in lines if "━" in line}) == 1


def test_a_driver_that_lives_and_cannot_write_is_told(begun, in_utc):
    write_progress(begun.storage, TOLD)
    write_driver(begun.storage)
    text = "\n".join(seen(begun.storage, width=200, now=NOW + timedelta(minutes=5)))
    assert "last told 5 min 04 s ago: the driver lives and cannot write" in " ".join(text.split())


@pytest.mark.parametrize(
    ("state", "headline"),
    [
        ("failed", "tiny has failed: the same command tries again"),
        ("stopped", "tiny was stopped: the same command goes on"),
        ("running", "tiny stopped without a word at 01 Mar 12:10: the same command goes on"),
    ],
)
def test_how_it_ended_is_the_first_line(begun, in_utc, state, headline):
    write_progress(begun.storage, TOLD.model_copy(update={"state": state}))
    lines = seen(begun.storage)
    assert lines[0] == headline
    assert any("why [not]" in line for line in lines) and not any("left" in line for line in lines)


def test_a_line_stands_for_the_picture_where_there_is_no_terminal(begun, in_utc):
    write_progress(begun.storage, TOLD.model_copy(update={"note": "no member runs"}))
    write_driver(begun.storage)
    assert status_line(look(begun.storage)) == (
        "01 Mar 12:10 [2/6] 2 running, 1 failed, 1 tried again; 12 members an hour; about 20 min 00 s left; "
        "no member runs"
    )


# -------------------------------------------------------------------------------------------------- the command


def analysed(storage, num_members) -> None:
    row = {"evaluation_set": "test", "num_members": num_members, "top1_mean": 0.9, "top1_std": 0.01}
    others = ("reference_top1_mean", "num_pies", "pie_fraction", "cie_u_mean", "half_pie_fraction", "null_pie_fraction")
    others += ("num_significant",)
    others += tuple(f"{who}top1_{where}_pies" for who in ("", "reference_") for where in ("on", "without"))
    rows = [row | dict.fromkeys(others, 0.5) | {"variant_id": name} for name in ("dense", "magnitude-0.50")]
    write_table(storage, "summary", {name: pd.DataFrame(rows)[name].to_numpy() for name in rows[0]})


def test_the_command_shows_what_the_last_analysis_knew(begun, capsys):
    complete(begun, begun.plan.members[:3])
    assert main(["status", begun.storage.uri]) == 0
    hint = f"`pie-ray analyze {begun.storage.uri}`"
    assert f"analysis none yet; {hint} makes one of what is complete" in capsys.readouterr().out
    analysed(begun.storage, 1)
    assert last_analysis(begun.storage).num_members == 2
    assert main(["status", begun.storage.uri]) == 0
    out = capsys.readouterr().out
    assert "analysis of 2 of 6 members, " in out and f"; {hint} takes in those that came since" in out
    assert "Network against network (test, in %)" in out


def test_what_is_no_sweep_is_one_message(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1 and "holds no results" in captured.err


def test_watching_goes_on_until_the_sweep_ends(begun, capsys, monkeypatch):
    monkeypatch.setattr(command, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(command, "SECONDS_BETWEEN_LINES", 0.0)
    write_progress(begun.storage, TOLD)
    driver = write_driver(begun.storage)
    looks = []

    def end_it(storage):
        looks.append(look(storage))
        if len(looks) == 3:
            storage.delete(paths.driver(driver.id))
            write_progress(storage, TOLD.model_copy(update={"state": "stopped"}))
        return looks[-1]

    monkeypatch.setattr("pie_ray.live.status.look", end_it)
    assert main(["status", begun.storage.uri, "--watch"]) == 0
    out = capsys.readouterr().out
    assert out.count("[2/6] 2 running") == 3 and "tiny was stopped: the same command goes on" in out


def test_a_storage_that_is_away_does_not_end_the_watch(begun, capsys, monkeypatch):
    from pie_ray.errors import StorageError

    monkeypatch.setattr(command, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(command, "SECONDS_BETWEEN_LINES", 0.0)
    write_progress(begun.storage, TOLD)
    driver = write_driver(begun.storage)
    num_looks = 0

    def be_away(storage):
        nonlocal num_looks
        num_looks += 1
        if num_looks == 2:
            raise StorageError("cannot list drivers: the network is down")
        if num_looks == 3:
            storage.delete(paths.driver(driver.id))
        return look(storage)

    monkeypatch.setattr("pie_ray.live.status.look", be_away)
    assert main(["status", begun.storage.uri, "--watch"]) == 0
    out = capsys.readouterr().out
    assert "left; cannot list drivers: the network is down" in out and "stopped without a word" in out


def test_a_bare_name_is_a_folder_here_or_in_results_and_else_a_job(begun, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # which holds results/tiny
    assert results_of("tiny") == "results/tiny"
    assert results_of("results/nothing") == "results/nothing"
    assert results_of("s3://bucket/tiny") == "s3://bucket/tiny"
    assert results_of("other-1") is None
    (tmp_path / "tiny").mkdir()
    assert results_of("tiny") == "results/tiny"
    monkeypatch.chdir(tmp_path / "results")
    assert results_of("tiny") == "tiny"

    for arguments in (["tiny", "--address", "http://127.0.0.1:1"], ["other-1", "--address", "http://127.0.0.1:1"]):
        assert main(["status", *arguments]) == 2
        assert "nothing answers at http://127.0.0.1:1" in capsys.readouterr().err
    assert main(["status", "other-1", "--watch"]) == 2
    assert "--watch: found with other-1" in capsys.readouterr().err


def test_progress_of_jobs_is_read_where_it_can_be_soon(begun, tmp_path, monkeypatch):
    write_progress(begun.storage, TOLD)
    monkeypatch.setattr("pie_ray.live.status.SECONDS_TO_ANSWER", 1.0)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nowhere = [str(tmp_path / "nothing"), "s3://bucket/x?endpoint_override=127.0.0.1:1&scheme=http", "ftp://x/y"]
    assert progress_of([begun.storage.uri, *nowhere]) == {begun.storage.uri: TOLD}


def test_a_sweep_in_an_object_store(begun, tmp_path, monkeypatch, capsys):
    with s3_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        storage = Storage(server.uri("results/tiny"))
        for path in begun.storage.list_files():
            storage.write_bytes(path, begun.storage.read_bytes(path))
        write_progress(storage, TOLD)
        write_driver(storage)
        num_writes = len(server.writes())
        assert main(["status", storage.uri]) == 0
        out = capsys.readouterr().out
        assert "tiny is running" in out and "2 of 6 complete, 2 running" in out
        assert len(server.writes()) == num_writes
        server.fail("denied")
        assert main(["status", storage.uri]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
