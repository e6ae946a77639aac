"""`pie-ray pies`: the examples that compression forgets, for a terminal, a program, or a labeling tool."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..errors import DataError, InputError
from .analysis import RESULTS

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from ..config import Suite
    from ..data import EvaluationImages, Splits
    from ..export import Addresses
    from ..loaded import LoadedResults
    from ..store import Storage

_LISTS = ("csv", "jsonl", "parquet")
_TOOLS = ("label-studio", "fiftyone")
_MAIN_FILE = {"label-studio": "tasks.json", "fiftyone": "samples.json"}
_NUM_SHOWN = 20


def add_pies_commands(commands: Any) -> None:
    text = "list the examples that compression forgets, the most forgotten first; or hand them to a labeling tool"
    command = commands.add_parser("pies", help=text, description=text)
    command.add_argument("results", help=f"{RESULTS}, that was analysed")
    command.add_argument(
        "--format",
        choices=(*_LISTS, *_TOOLS),
        help="csv and jsonl go to standard output where no --output is given; label-studio and fiftyone write a "
        "folder; without a format the first ones are shown as a table",
    )
    command.add_argument(
        "--by",
        choices=("example", "variant"),
        default="example",
        help="a row an example with all variants that forget it (default), or a row a variant and example, with its "
        "p-value",
    )
    for option, metavar, what in (
        ("--variant", "VARIANT", "only what this variant forgets"),
        ("--evaluation-set", "NAME", "only examples of this evaluation set"),
        ("--class", "CLASS", "only examples of this true class, or answers about this attribute"),
    ):
        command.add_argument(option, action="append", default=[], metavar=metavar, help=f"{what}; may be repeated")
    command.add_argument(
        "--significant", action="store_true", help="only PIEs whose votes differ significantly too (q ≤ .05)"
    )
    command.add_argument("--limit", type=int, metavar="N", help="the N most forgotten examples")
    command.add_argument("--output", metavar="PATH", help="file, or folder of a tool, to write; local, s3:// or gs://")
    command.add_argument("--force", action="store_true", help="write over what --output has already")
    command.add_argument(
        "--image-root",
        metavar="ADDRESS",
        help="where the image files are: the folder or address that the keys are relative to; without it the pictures "
        "are written beside the tool's file",
    )
    command.set_defaults(command=_pies)


def _pies(options: argparse.Namespace, console: Console) -> None:
    from rich.console import Console
    from rich.markup import escape

    from ..loaded import load

    _check(options)
    results = load(options.results)
    rows = _chosen(results, options)
    if rows.empty:
        note = "The list is empty: no example is a PIE and fits the options."
        Console(stderr=True).print(escape(note), soft_wrap=True)
    if options.format is None:
        _show(rows, results, options, console)
    elif options.format in _LISTS:
        _write_list(rows, options, console)
    else:
        _write_for_tool(rows, results, options, console)


def _check(options: argparse.Namespace) -> None:
    """Raises InputError for options that do not go together, before anything is read."""
    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit: found {options.limit}; accepted is a whole number, 1 or more")
    if options.format is None and options.output is not None:
        raise InputError(f"--output: found without --format; accepted with {', '.join((*_LISTS, *_TOOLS))}")
    if options.format in ("parquet", *_TOOLS) and options.output is None:
        raise InputError(f"--output: found none; accepted with --format {options.format} is a path to write to")
    if options.format in _TOOLS and options.by == "variant":
        raise InputError(f"--by: found variant; accepted with --format {options.format} is example, one of its tasks")
    if options.format not in _TOOLS and options.image_root is not None:
        raise InputError(f"--image-root: found without a tool; accepted with --format {' or '.join(_TOOLS)}")


def _chosen(results: LoadedResults, options: argparse.Namespace) -> pd.DataFrame:
    """A row a variant and answer, the most forgotten first."""
    from ..export import check_names, choose, named_pies

    classes = getattr(options, "class")
    check_names("--evaluation-set", options.evaluation_set, list(results.summary["evaluation_set"].unique()))
    check_names("--variant", options.variant, results.variants[1:])
    numbers = () if results.is_multilabel else tuple(map(str, range(len(results.class_names))))
    check_names("--class", [name for name in classes if name not in numbers], results.class_names)
    rows = named_pies(results.pies, _groups(results), _answer_names(results))
    return choose(
        rows,
        evaluation_sets=options.evaluation_set,
        variants=options.variant,
        classes=classes,
        only_significant=options.significant,
        limit=options.limit,
    )


def _answer_names(results: LoadedResults) -> list[str]:
    return ["no", "yes"] if results.is_multilabel else results.class_names


def _groups(results: LoadedResults) -> dict[str, pd.DataFrame]:
    """The groups of the examples of each evaluation set that has PIEs, by example id."""
    if not results.has_predictions or results.pies.empty:
        return {}
    facts = {name: results.examples(name) for name in results.pies["evaluation_set"].unique()}
    own = ["key", "label", "label_name"]
    return {name: table.set_index("example_id").drop(columns=own, errors="ignore") for name, table in facts.items()}


# ------------------------------------------------------------------------------------------------------------ lists


def _write_list(rows: pd.DataFrame, options: argparse.Namespace, console: Console) -> None:
    from ..export import by_example, csv_bytes, json_lines
    from ..store import Storage, frame_bytes

    make: Mapping[str, Callable[[pd.DataFrame], bytes]]
    make = {"csv": csv_bytes, "jsonl": json_lines, "parquet": frame_bytes}
    table = by_example(rows) if options.by == "example" else rows
    data = make[options.format](table)
    if options.output is None:
        _to_standard_output(data)
        return
    if os.path.isdir(options.output):
        raise InputError(f"--output: {options.output} is a folder; accepted with --format {options.format} is a file")
    folder, name = Storage(options.output).place
    storage = Storage(folder)
    _check_free(storage, name, options)
    storage.write_bytes(name, data)
    console.print(f"{len(table):,} rows: {options.output}", markup=False, highlight=False, soft_wrap=True)


def _to_standard_output(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` has. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_free(storage: Storage, name: str, options: argparse.Namespace) -> None:
    """Raises InputError for a file that is there already, without --force."""
    if storage.exists(name) and not options.force:
        raise InputError(
            f"--output: {options.output} is there already, and somebody may have worked on it; "
            "accepted is another path, or --force to write over it"
        )


# ------------------------------------------------------------------------------------------------------------ tools


def _write_for_tool(rows: pd.DataFrame, results: LoadedResults, options: argparse.Namespace, console: Console) -> None:
    from ..export import answer_columns, fiftyone_samples, json_bytes, label_studio_tasks, labeling_config
    from ..store import Storage

    storage, main_file = Storage(options.output), _MAIN_FILE[options.format]
    _check_free(storage, main_file, options)
    files: dict[str, bytes] = {}
    if options.image_root is None:
        addresses, files = _pictures(results, rows, _written_root(options.format, storage))
    else:
        addresses = _addresses_below(_given_root(options), rows)
    reference = results.variants[0]
    if options.format == "label-studio":
        names = _answer_names(results)
        files["labeling_config.xml"] = labeling_config(names, has_attributes=results.is_multilabel)
        content = json_bytes(label_studio_tasks(rows, addresses, reference))
    else:
        content = json_bytes(fiftyone_samples(rows, addresses, reference))
    with ThreadPoolExecutor(storage.num_threads) as pool:
        list(pool.map(storage.write_bytes, files, files.values()))
    # Last: where it is there, all of them are, and whole.
    storage.write_bytes(main_file, content)
    num_answers = len(rows.drop_duplicates(answer_columns(rows)))
    what = {"label-studio": "tasks", "fiftyone": "samples"}[options.format]
    console.print(f"{num_answers:,} {what}: {options.output}", markup=False, highlight=False, soft_wrap=True)


def _given_root(options: argparse.Namespace) -> str:
    root: str = options.image_root
    if "://" in root or (options.format == "label-studio" and root.startswith("/data/")):
        return root
    if options.format == "label-studio":
        raise InputError(
            f"--image-root: found {root!r}; accepted is what Label Studio finds pictures by: "
            "/data/local-files/?d=FOLDER, below its document root, or an https://, s3:// or gs:// address"
        )
    # FiftyOne would look for it beside its file.
    return os.path.abspath(os.path.expanduser(root))


def _addresses_below(root: str, rows: pd.DataFrame) -> Addresses:
    from ..export import check_file_keys, image_address

    check_file_keys(rows["key"])
    places = zip(rows["evaluation_set"], rows["example_id"], rows["key"], strict=True)
    return {(name, example_id): image_address(root, key) for name, example_id, key in places}


def _written_root(tool: str, storage: Storage) -> str:
    """What the pictures' paths are relative to: FiftyOne finds them beside its file, Label Studio by an address."""
    from ..export import LOCAL_FILES, image_address

    if tool == "fiftyone":
        return ""
    return image_address(LOCAL_FILES, storage.place[1]) if storage.is_local else storage.uri.partition("?")[0]


def _pictures(results: LoadedResults, rows: pd.DataFrame, root: str) -> tuple[Addresses, dict[str, bytes]]:
    """Address of each example's picture, and the files to write."""
    from ..export import image_address, picture_bytes, picture_path

    addresses: dict[tuple[str, int], str] = {}
    files: dict[str, bytes] = {}
    for name, images in _images(results, rows["evaluation_set"].unique()):
        place_of = {int(example_id): place for place, example_id in enumerate(images.example_ids)}
        for example_id in rows.loc[rows["evaluation_set"] == name, "example_id"].unique().tolist():
            place, path = place_of[example_id], picture_path(name, example_id)
            addresses[name, example_id] = image_address(root, path) if root else path
            files[path] = picture_bytes(images.read(place, place + 1)[0])
    return addresses, files


def _images(results: LoadedResults, evaluation_sets: Any) -> Iterator[tuple[str, EvaluationImages]]:
    """The images of each of the sets; raises InputError where they are not at hand, or not those of the sweep."""
    if not len(evaluation_sets):
        return
    if not results.has_predictions:
        raise InputError(
            f"{results.path} has predictions from elsewhere and no images; accepted is --image-root, the folder or "
            "address that the examples' keys are relative to"
        )
    from ..config import TEST
    from ..data import as_they_are, open_suites

    try:
        splits, suites = _splits_and_suites(results)
        if set(evaluation_sets) == {TEST}:
            yield TEST, as_they_are(TEST, splits.test)
            return
        by_name = {images.name: images for sets in open_suites(suites, splits).values() for images in sets}
        yield from ((name, by_name[name]) for name in evaluation_sets)
    except DataError as error:
        raise InputError(
            f"no pictures to write: {error}; --image-root takes the address of the image files instead"
        ) from error


def _splits_and_suites(results: LoadedResults) -> tuple[Splits, Mapping[str, Suite]]:
    """Raises DataError where the images are not at hand, or others than the predictions are of."""
    if results.is_audit:
        from ..audits import audited_splits
        from ..store import Storage

        return audited_splits(Storage(results.path)), results.audit.evaluation.suites
    from ..data import load_splits_of_sweep

    recipe = results.recipe
    fingerprint = results.sweep.manifest.fingerprint
    return load_splits_of_sweep(recipe.data, recipe.execution.cache, fingerprint), recipe.evaluation.suites


# ------------------------------------------------------------------------------------------------------ the terminal


def _show(rows: pd.DataFrame, results: LoadedResults, options: argparse.Namespace, console: Console) -> None:
    """The first rows, one an example, whatever `--by` says: p-values are for programs."""
    if rows.empty:
        return
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from ..export import by_example

    answers = by_example(rows)
    shown = answers if options.limit is not None else answers.head(_NUM_SHOWN)
    num_compared = len(options.variant or results.variants[1:])
    several_sets = answers["evaluation_set"].nunique() > 1
    table = Table(title="Most forgotten examples", title_justify="left", header_style="bold",
                  box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))  # fmt: skip
    for header in ("example", *(["attribute"] if "attribute" in answers else []), "label", "dense", "compressed"):
        table.add_column(header, overflow="fold")
    table.add_column("by", justify="right", no_wrap=True)
    for row in shown.to_dict("records"):
        place = f"{row['evaluation_set']} {row['key']}" if several_sets else row["key"]
        cells = [place, *([row["attribute"]] if "attribute" in row else []), row["label_name"]]
        dense = f"{row['reference_mode_name']} {100 * row['reference_agreement']:.0f} %"
        compressed = ", ".join(dict.fromkeys(row["variant_mode_names"]))
        star = "*" if row["is_significant"] else ""
        by = f"{row['num_variants']} of {num_compared}{star}"
        table.add_row(*(escape(str(cell)) for cell in (*cells, dense, compressed, by)))
    console.print(table)
    console.print(
        "dense, compressed: the most frequent answers; %: members that agree\n"
        "by: variants that forget the example; * votes differ significantly (q ≤ .05)",
        style="dim", highlight=False,
    )  # fmt: skip
    if len(shown) < len(answers):
        console.print(
            f"The first {len(shown)} of {len(answers):,}; all with --format csv, or --limit {len(answers)}.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
