"""Which members are finished: a record, its checkpoint, and predictions on every wanted suite."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pydantic import ValidationError

from ..errors import StoreError
from ..identity import MemberSpec, Plan
from ..records import MemberRecord
from . import paths
from .storage import Storage


@dataclass(frozen=True)
class Completeness:
    """What of a plan is finished."""

    records: dict[str, MemberRecord]
    """The complete members by member id, in the plan's order."""
    missing: tuple[MemberSpec, ...]
    """All others, in the plan's order."""
    made: dict[str, MemberRecord] = field(default_factory=dict)
    """The members that are complete but for suites, by member id, in the plan's order."""
    evaluated: dict[str, frozenset[str]] = field(default_factory=dict)
    """Ids of the members of `made` that have predictions on a suite."""

    def on_suite(self, suite: str) -> dict[str, MemberRecord]:
        """The members that were evaluated on a suite, whatever others they lack."""
        return {member_id: record for member_id, record in self.made.items() if member_id in self.evaluated[suite]}


def write_record(storage: Storage, record: MemberRecord) -> None:
    """Mark a member as finished; write its checkpoint and predictions before."""
    path = paths.member(record.variant_id, record.seed)
    storage.write_bytes(path, record.model_dump_json(indent=2).encode() + b"\n")


def read_record(storage: Storage, spec: MemberSpec) -> MemberRecord | None:
    """The member's record, None where it has none; StoreError where it is damaged or another member's."""
    path = paths.member(spec.variant_id, spec.seed)
    try:
        record = _parse(storage, path, storage.read_bytes(path))
    except FileNotFoundError:
        return None
    _check_own(storage, spec, record)
    return record


def complete_record(storage: Storage, spec: MemberSpec, suites: Iterable[str]) -> MemberRecord | None:
    """The record of a member that needs no more work, None of any other; StoreError as of `read_record`.

    One request where there is no record; `completeness` is for many members.
    """
    record = read_record(storage, spec)
    if record is None:
        return None
    needed = [paths.predictions(suite, spec.variant_id, spec.seed) for suite in suites]
    if record.checkpoint_bytes:
        needed.append(paths.checkpoint(spec.variant_id, spec.seed))
    return record if all(map(storage.exists, needed)) else None


def read_records(storage: Storage) -> list[MemberRecord]:
    """Every record of the storage, by variant id and seed; StoreError where one is damaged."""
    records = _read(storage, storage.list_files(paths.MEMBERS))
    return sorted(records, key=lambda record: (record.variant_id, record.seed))


def completeness(storage: Storage, plan: Plan, suites: Iterable[str]) -> Completeness:
    """Find the plan's members that need no more work.

    Lists each folder once and reads the records that are there. Raises StoreError where a record is damaged, or
    stands in the place of a member of this plan with another member id.
    """
    suites = tuple(suites)
    folders = [paths.MEMBERS, paths.CHECKPOINTS, *map(paths.suite_predictions, suites)]
    with ThreadPoolExecutor(len(folders)) as pool:
        files = {path for listed in pool.map(storage.list_files, folders) for path in listed}
    recorded = [spec for spec in plan.members if paths.member(spec.variant_id, spec.seed) in files]
    read = _read(storage, [paths.member(spec.variant_id, spec.seed) for spec in recorded])
    made = {}
    for spec, record in zip(recorded, read, strict=True):
        _check_own(storage, spec, record)
        # One that stored no checkpoint says so by its size of 0.
        if not record.checkpoint_bytes or paths.checkpoint(spec.variant_id, spec.seed) in files:
            made[spec.member_id] = record
    evaluated = {
        suite: frozenset(
            member_id
            for member_id, record in made.items()
            if paths.predictions(suite, record.variant_id, record.seed) in files
        )
        for suite in suites
    }
    complete = set(made).intersection(*evaluated.values())
    return Completeness(
        records={member_id: record for member_id, record in made.items() if member_id in complete},
        missing=tuple(spec for spec in plan.members if spec.member_id not in complete),
        made=made,
        evaluated=evaluated,
    )


def _check_own(storage: Storage, spec: MemberSpec, record: MemberRecord) -> None:
    if record.member_id != spec.member_id:
        path = paths.member(spec.variant_id, spec.seed)
        raise StoreError(
            f"{path} in {storage} is of member {record.member_id}, the recipe's {spec.variant_id} with seed "
            f"{spec.seed} is {spec.member_id}: the variant's settings differ; use another name or storage"
        )


def _read(storage: Storage, files: list[str]) -> list[MemberRecord]:
    with ThreadPoolExecutor(storage.num_threads) as pool:
        contents = pool.map(storage.read_bytes, files)
        return [_parse(storage, path, data) for path, data in zip(files, contents, strict=True)]


def _parse(storage: Storage, path: str, data: bytes) -> MemberRecord:
    try:
        return MemberRecord.model_validate_json(data)
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"]
        raise StoreError(
            f"{path} in {storage} cannot be read: {message}; delete it, and the sweep makes the member again"
        ) from error
