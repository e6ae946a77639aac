"""`pie-ray export`: an audited member as a file that predicts elsewhere."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from ..errors import CompressionError, InputError
from .analysis import RESULTS, open_folder

if TYPE_CHECKING:
    from rich.console import Console

_FORMATS = ("onnx", "torchscript", "safetensors")
_DEFAULT = "onnx"


def add_export_command(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    text = "write a member as a file that predicts elsewhere, checked against the predictions that were audited"
    command = commands.add_parser("export", help=text, description=text)
    command.add_argument("results", help=f"{RESULTS}, of a sweep")
    command.add_argument(
        "--member",
        required=True,
        metavar="ID",
        help="a member id or the beginning of one, VARIANT/SEED such as static_int8/0, or VARIANT, of which the member "
        "with the best top-1 is taken",
    )
    command.add_argument("--format", choices=_FORMATS, default=_DEFAULT, help=f"(default: {_DEFAULT})")
    command.add_argument(
        "--output", metavar="FILE", help="local, s3:// or gs:// (default: <variant>-<seed> in the current folder)"
    )
    command.add_argument("--force", action="store_true", help="write over a file that is there")
    command.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="predict with the file on the test images and compare with the stored predictions (default); a file that "
        "disagrees is not written",
    )
    command.set_defaults(command=_export)


def _export(options: argparse.Namespace, console: Console) -> None:
    from ..exporting import find_member, open_images, restore_member
    from ..portable import FORMATS
    from ..store import Storage

    results = open_folder(options.results)
    asked = find_member(results, options.member)
    file_format = FORMATS[options.format]
    output = options.output or f"{asked.spec.variant_id}-{asked.spec.seed}{file_format.suffix}"
    if os.path.isdir(output):
        raise InputError(f"--output: {output} is a folder; accepted is a file")
    folder, name = Storage(output).place
    storage = Storage(folder)
    if storage.exists(name) and not options.force:
        raise InputError(f"--output: {output} is there already; accepted is another path, or --force to write over it")
    splits = open_images(results)
    data = file_format.to_bytes(restore_member(results, asked, splits))
    told = _checked(data, options, results, asked, splits) if options.check else "not checked"
    storage.write_bytes(name, data)
    chosen = ", the best of its variant" if asked.is_best_of_variant else ""
    lines = [
        f"{asked.spec.variant_id}/{asked.spec.seed} ({asked.spec.member_id}{chosen}): {output}, {len(data):,} bytes",
        f"{told[:1].upper()}{told[1:]}.",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _checked(data: bytes, options: argparse.Namespace, results: Any, asked: Any, splits: Any) -> str:
    """What the check found. Raises CompressionError where the file disagrees."""
    from ..exporting import check
    from ..portable import FORMATS, missing_libraries

    opened_by = FORMATS[options.format].opened_by
    if missing := missing_libraries(*FORMATS[options.format].opened_with):
        return f"not checked: {' and '.join(missing)} cannot be imported; `pip install 'pie_ray[onnx]'` installs it"
    agreement = check(data, options.format, results, asked, splits)
    if not agreement.holds:
        raise CompressionError(
            f"the file disagrees with what was audited, and was not written: in {opened_by}, {agreement}; "
            f"{100 * agreement.share_off:.3g} % of the images are off by more than "
            f"{100 * agreement.tolerance.logit:.3g} % of the largest {agreement.compared}. "
            "--no-check writes it all the same"
        )
    return f"checked in {opened_by}: {agreement}"
