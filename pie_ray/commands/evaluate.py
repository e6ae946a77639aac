"""`pie-ray evaluate`: a sweep's members on further evaluation sets; or networks that somebody has already, an audit."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .analysis import RESULTS
from .making import add_cluster_options, complete_and_report
from .recipe_options import add_set_option

if TYPE_CHECKING:
    from rich.console import Console

    from ..auditing import Preprocessing

_OF_SWEEPS = ("results", "suites", "set", "address", "verbose")
_OF_AUDITS = (
    "model", "reference", "paired", "data", "further_suites", "normalise", "mean", "std", "layout", "input", "threads",
    "output",
)  # fmt: skip
_OPTION_OF = {"results": "RESULTS", "suites": "SUITES", "further_suites": "--suites"}


def add_evaluate_command(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    text = (
        "predict with the members of a finished sweep on further evaluation sets, or with networks of your own "
        "(--model, --reference, --data); then analysis and report"
    )
    command = commands.add_parser("evaluate", help=text, description=text)
    command.add_argument("results", nargs="?", help=f"{RESULTS}, of a sweep")
    command.add_argument(
        "suites",
        nargs="?",
        help="YAML file with suites by name, or a recipe that has them under evaluation.suites; without one, those "
        "that the results were begun with",
    )
    add_set_option(command, "evaluation.suites.corruptions.severities=[1,3]")
    add_cluster_options(command)
    _add_audit_options(command.add_argument_group("networks that you have already"))
    command.set_defaults(command=_evaluate)


def _add_audit_options(own: Any) -> None:
    own.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]WHAT",
        help="a compressed network: a file .onnx, .pt2, .pt, .ts or .torchscript, a checkpoint of pie_ray (its file or "
        "RESULTS:VARIANT/SEED), or module:function; may be repeated: of one NAME are members of one variant",
    )
    own.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="WHAT",
        help="the uncompressed network; repeated: the reference's members",
    )
    own.add_argument(
        "--data",
        metavar="DATA",
        help="the images: a YAML file with a section `data` (a recipe has one), '{kind: image_folder, path: FOLDER}', "
        "or a folder of test/<class>/ or <class>/ with images",
    )
    own.add_argument(
        "--paired",
        action="append",
        default=[],
        metavar="NAME",
        help="a variant whose members were made from the reference's members of the same number; may be repeated",
    )
    own.add_argument(
        "--suites",
        dest="further_suites",
        metavar="FILE",
        help="YAML file with suites by name, or a recipe that has them: evaluate on these sets too",
    )
    own.add_argument(
        "--normalise",
        choices=("none", "imagenet"),
        help="what a network of floating-point input gets: pixels in [0, 1] (none, the default), or normalised as "
        "networks trained on ImageNet are; one of uint8 input gets pixels as they are",
    )
    for name, what in (("mean", "subtracted from pixels in [0, 1]"), ("std", "that they are divided by then")):
        own.add_argument(
            f"--{name}", type=float, nargs="+", metavar="X", help=f"in place of --normalise: {what}, one a channel"
        )
    own.add_argument("--layout", choices=("nchw", "nhwc"), help="of the networks' input; default nchw")
    own.add_argument(
        "--input",
        choices=("uint8", "float"),
        help="of networks whose files do not tell, TorchScript and Python; default float",
    )
    own.add_argument("--threads", type=int, metavar="N", help="processor threads of a network; default 1")
    own.add_argument("--output", metavar="FOLDER", help="where all goes; default results/<name of the first model>")


def _evaluate(options: argparse.Namespace, console: Console) -> None:
    _check(options)
    if options.model:
        _audit(options, console)
    else:
        from ..stages import evaluate, recipe_with_suites

        recipe = recipe_with_suites(options.results, options.suites, options.set)
        complete_and_report(evaluate, recipe, options, console)


def _check(options: argparse.Namespace) -> None:
    """Raises InputError where the options of both forms are mixed, or those of neither are complete."""
    of_sweeps, of_audits = (_given(options, names) for names in (_OF_SWEEPS, _OF_AUDITS))
    if of_sweeps and of_audits:
        raise InputError(
            f"found {', '.join(of_sweeps)} with {', '.join(of_audits)}; accepted is a sweep's RESULTS, or networks of "
            "your own: --model, --reference and --data"
        )
    if not of_sweeps and not of_audits:
        raise InputError("found neither RESULTS nor --model; accepted is a sweep's folder, or networks of your own")
    if of_sweeps and options.results is None:
        raise InputError(f"found {', '.join(of_sweeps)} without RESULTS; accepted only with a sweep's folder")
    missing = [f"--{name}" for name in ("model", "reference", "data") if not getattr(options, name)]
    if of_audits and missing:
        raise InputError(f"found {', '.join(of_audits)} without {' and '.join(missing)}; an audit takes all three")
    if options.threads is not None and options.threads < 1:
        raise InputError(f"--threads: found {options.threads}; accepted is a whole number, 1 or more")


def _given(options: argparse.Namespace, names: tuple[str, ...]) -> list[str]:
    return [_OPTION_OF.get(name, f"--{name}") for name in names if getattr(options, name) not in (None, [], False)]


def _audit(options: argparse.Namespace, console: Console) -> None:
    from ..auditing import asked
    from ..audits import audit
    from ..store import Storage

    populations = asked(options.model, options.reference)
    names = [population.variant_id for population in populations[1:]]
    strange = [name for name in options.paired if name not in names]
    if strange:
        raise InputError(f"--paired: found {', '.join(strange)}; accepted are the audited variants: {', '.join(names)}")
    output = options.output or f"results/{names[0]}"
    if "://" in output and not output.startswith("file://"):
        raise InputError(f"--output: found {output}; accepted is a folder of this machine")
    audit(
        populations,
        Storage(output),
        console,
        data=options.data,
        suites=options.further_suites,
        paired=options.paired,
        preprocessing=_preprocessing(options),
        num_threads=options.threads or 1,
    )


def _preprocessing(options: argparse.Namespace) -> Preprocessing:
    from ..auditing import IMAGENET, Preprocessing

    mean, std = tuple(options.mean or ()), tuple(options.std or ())
    if options.normalise is not None and (mean or std):
        raise InputError("--normalise: found with --mean or --std; accepted is one of the two")
    if any(not value > 0 for value in std):
        raise InputError(f"--std: found {' '.join(f'{value:g}' for value in std)}; accepted are numbers above 0")
    if options.normalise == "imagenet":
        mean, std = IMAGENET
    return Preprocessing(mean, std, options.layout or "nchw", options.input)
