"""From a user's file to `ImportedPredictions`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from math import nan

import numpy as np

from ... import __version__
from ...config import Evaluation
from ...errors import InputError
from ...store import Storage, schema
from ...variants import REFERENCE_ID
from ..source import ExampleFacts, VariantInfo
from ..user_files import UserTable, open_user_table, shown
from .groups import read_groups
from .layout import Layout, lay_out
from .own_names import read_own_name
from .predictions import EvaluationSet, ImportedPredictions, Span
from .rows import DEFAULT_SET, Rows, read_rows

_NO_MAPPING: Mapping[str, str] = {}
_DEFAULT_EVALUATION = Evaluation()


def open_predictions(
    path: str,
    *,
    storage: Storage,
    columns: Mapping[str, str] = _NO_MAPPING,
    reference: str = REFERENCE_ID,
    paired: Sequence[str] = (),
    evaluation: Evaluation = _DEFAULT_EVALUATION,
    title: str | None = None,
) -> ImportedPredictions:
    """Open a table of predictions: a .parquet, .csv or .csv.gz file, or a folder of them.

    A row is the prediction of one `member` of one `variant` for the example `example_id` with its `label`; `columns`
    maps these names of ours to the file's. Classes are numbers from 0 or names, in both columns alike. Optional are
    `evaluation_set`, `key` (what people find an example by), and, for all predictions of a population or none,
    `confidence`, `label_probability`, `label_rank`, `margin` and `entropy`, as sweeps store them. A further column of
    up to 50 integers, booleans or texts becomes a group where it is the same for an example over all members.

    `reference` is the uncompressed variant's name in the file; in all tables it is `dense`. `paired` names variants
    whose members were derived from the reference's members of the same number, as quantized ones are. Results are
    written to `storage`. Members and examples that are texts are numbered in sorted order, the examples' texts kept as
    keys. Neither the order of the rows nor the kind of file changes a table.

    Raises InputError, naming file and row: files and columns that are absent or damaged, values that are missing, of
    another type or out of range, doubled rows, members of one evaluation set on different examples, labels that
    disagree, and variants that are not there.
    """
    table = open_user_table(path)
    rows = read_rows(table, columns)
    _check_variants(rows, reference, paired)
    layout = lay_out(rows)
    groups, notes = read_groups(rows, layout)
    arrays = _scatter(rows, layout)
    sets = _evaluation_sets(rows, layout, groups, reference)
    _check_pairs(sets, paired)
    return ImportedPredictions(
        storage=storage,
        title=table.title if title is None else title,
        evaluation=evaluation,
        seed_text=_digest(rows, sets, arrays[schema.PREDICTION]),
        class_names=rows.class_names,
        variants=_variants(rows, reference, paired),
        evaluation_sets=tuple(sets),
        missing=tuple(_missing(rows, sets)),
        notes=(*table.notes, *notes, *_notes(rows, sets)),
        provenance=_provenance(table),
        _seeds=_seeds(rows),
        _sets=sets,
        _arrays=arrays,
    )


def _check_variants(rows: Rows, reference: str, paired: Sequence[str]) -> None:
    names = rows.variant.texts()
    there = f"accepted are the variants there are: {shown(names)}"
    if reference not in names:
        raise InputError(f"--reference: found {reference!r}, which {rows.table.path} has no predictions of; {there}")
    if reference != REFERENCE_ID and REFERENCE_ID in names:
        raise InputError(
            f"--reference: found {reference!r}, and {rows.table.path} has another variant called {REFERENCE_ID}, the "
            f"reference's name in all tables; accepted is --reference {REFERENCE_ID}, or another name in the file"
        )
    strange = sorted({*paired} - {*names} | {*paired} & {reference})
    if strange:
        raise InputError(f"--paired: found {shown(strange)}; {there}, without the reference {reference}")


def _scatter(rows: Rows, layout: Layout) -> dict[str, np.ndarray]:
    """Each column [rows], in the order of the layout."""
    columns = {schema.PREDICTION: rows.prediction, **rows.measures}
    arrays = {}
    for name, values in columns.items():
        arrays[name] = np.empty_like(values)
        arrays[name][layout.position] = values
    for name, values in rows.measures.items():
        _refuse_gaps(rows, layout, name, np.isnan(values))
    return arrays


def _refuse_gaps(rows: Rows, layout: Layout, name: str, is_missing: np.ndarray) -> None:
    """Raise InputError where some rows of a population have a value of the column, and others none."""
    population = (layout.cell_set * len(rows.variant.values) + layout.cell_variant)[layout.cell]
    num_missing = np.bincount(population, is_missing)
    has_gaps = (num_missing > 0) & (num_missing < np.bincount(population))
    if has_gaps.any():
        row = int(np.argmax(is_missing & has_gaps[population]))
        raise InputError(
            f"{rows.table.locate(row)}: found {name} without a value, where other predictions of the same variant and "
            "evaluation set have one; accepted are values for all of them, or for none"
        )


def _ids(rows: Rows, reference: str) -> list[str]:
    """Variant ids by index."""
    return [REFERENCE_ID if name == reference else name for name in rows.variant.texts()]


def _evaluation_sets(
    rows: Rows, layout: Layout, groups: Mapping[str, np.ndarray], reference: str
) -> dict[str, EvaluationSet]:
    """Those that the reference has predictions on, `test` before the others."""
    names = rows.evaluation_set.texts()
    order = sorted(range(len(names)), key=lambda index: (names[index] != DEFAULT_SET, index))
    sets = {names[index]: _evaluation_set(rows, layout, groups, _ids(rows, reference), index) for index in order}
    return {name: found for name, found in sets.items() if REFERENCE_ID in found.spans}


def _evaluation_set(
    rows: Rows, layout: Layout, groups: Mapping[str, np.ndarray], variant_ids: Sequence[str], index: int
) -> EvaluationSet:
    pairs = slice(*layout.first_pair[index : index + 2].tolist())
    examples = layout.pair_example[pairs]
    values = rows.example.values.take(examples)
    keys = values if layout.pair_key is None or rows.key is None else rows.key.values.take(layout.pair_key[pairs])
    return EvaluationSet(
        facts=ExampleFacts(
            example_ids=examples if rows.example.is_text else values.to_numpy(),
            labels=layout.pair_label[pairs],
            keys=tuple(map(str, keys.to_pylist())),
            groups={name: of_pair[pairs] for name, of_pair in groups.items()},
        ),
        spans=dict(_spans(layout, variant_ids, index)),
    )


def _spans(layout: Layout, variant_ids: Sequence[str], index: int) -> Iterable[tuple[str, Span]]:
    for variant, variant_id in enumerate(variant_ids):
        cells = np.flatnonzero((layout.cell_set == index) & (layout.cell_variant == variant))
        if len(cells):
            yield variant_id, Span(int(layout.first_row[cells[0]]), tuple(layout.cell_member[cells].tolist()))


def _check_pairs(sets: Mapping[str, EvaluationSet], paired: Sequence[str]) -> None:
    for variant_id in paired:
        for name, known in sets.items():
            members = known.spans[variant_id].members if variant_id in known.spans else None
            if members is not None and not set(members) & set(known.spans[REFERENCE_ID].members):
                raise InputError(
                    f"--paired: found {variant_id}, none of whose members the reference has on evaluation set {name}; "
                    "accepted are variants whose members are called as those of the reference they were derived from"
                )


def _variants(rows: Rows, reference: str, paired: Sequence[str]) -> tuple[VariantInfo, ...]:
    """The reference, then the others by name."""
    names = rows.variant.texts()
    others = [_variant(name, names, name in paired) for name in names if name != reference]
    return (VariantInfo(REFERENCE_ID), *others)


def _variant(name: str, names: Sequence[str], is_paired: bool) -> VariantInfo:
    own = read_own_name(name)
    if own is None:
        return VariantInfo(name, sparsity=nan, is_paired=is_paired)
    plain_id = own.plain_id if own.plain_id in names else None
    return VariantInfo(name, own.sparsity, own.quantization, is_paired, own.loss, plain_id)


def _seeds(rows: Rows) -> tuple[int, ...]:
    return tuple(range(len(rows.member.values)) if rows.member.is_text else rows.member.values.to_pylist())


def _missing(rows: Rows, sets: Mapping[str, EvaluationSet]) -> Iterable[str]:
    names = rows.member.texts()
    for variant_id in _variant_ids(sets):
        held = {name: set(known.spans[variant_id].members) for name, known in sets.items() if variant_id in known.spans}
        for member in sorted(set().union(*held.values())):
            lacking = [name for name, members in held.items() if member not in members]
            if lacking:
                yield f"{variant_id} member {names[member]} on {shown(lacking)}"


def _variant_ids(sets: Mapping[str, EvaluationSet]) -> list[str]:
    return list(dict.fromkeys(variant_id for known in sets.values() for variant_id in known.spans))


def _notes(rows: Rows, sets: Mapping[str, EvaluationSet]) -> Iterable[str]:
    without = [name for name in rows.evaluation_set.texts() if name not in sets]
    if without:
        yield f"Evaluation sets without predictions of the reference were left out: {shown(without)}."
    for variant_id in _variant_ids(sets):
        lacking = [name for name, known in sets.items() if variant_id not in known.spans]
        if lacking:
            yield f"{variant_id} has no predictions on {shown(lacking)}."
    if rows.member.is_text:
        names = rows.member.texts()
        yield f"Members are numbered 0 to {len(names) - 1} in the order of their names: {shown(names)}."
    for name, values in rows.measures.items():
        if np.isnan(values).any():
            yield f"Some populations have no {name}."


def _digest(rows: Rows, sets: Mapping[str, EvaluationSet], predictions: np.ndarray) -> str:
    """16 hexadecimal digits of what was predicted for what, whatever the file and the order of its rows."""
    members = rows.member.texts()
    sha256 = hashlib.sha256(json.dumps(rows.class_names).encode())
    for name, known in sets.items():
        sha256.update(json.dumps([name, *known.facts.keys]).encode())
        sha256.update(known.facts.labels.astype("<u2").tobytes())
        for variant_id, span in sorted(known.spans.items()):
            sha256.update(json.dumps([variant_id, [members[member] for member in span.members]]).encode())
            end = span.first_row + len(span.members) * len(known.facts.labels)
            sha256.update(predictions[span.first_row : end].astype("<u2").tobytes())
    return sha256.hexdigest()[:16]


def _provenance(table: UserTable) -> dict[str, str]:
    return {
        "predictions": shown(table.file_names),
        "rows": str(table.num_rows),
        "sha256": table.digest(),
        "pie_ray": __version__,
    }
