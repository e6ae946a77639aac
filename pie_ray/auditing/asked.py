"""Which networks are to be audited: the members of each variant, as they were named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import InputError
from ..variants import REFERENCE_ID

ACCEPTED = (
    "a file .onnx, .pt2 (torch.export), .pt, .ts or .torchscript (TorchScript), a checkpoint of pie_ray "
    "(RESULTS/checkpoints/VARIANT/SEED.safetensors, or RESULTS:VARIANT/SEED), or module:function"
)

CHECKPOINT = ".safetensors"

_NAME = re.compile(r"[\w.+-]+")
_MEMBER = re.compile(r"(?P<results>.+):(?P<variant>[^/:]+)/(?P<seed>\d+)")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class MemberAddress:
    """A member of a sweep of ours."""

    results: str
    variant_id: str
    seed: int


@dataclass(frozen=True)
class Asked:
    """A population to audit: where each of its members is, in their order."""

    variant_id: str
    members: tuple[str, ...]


def asked(models: Sequence[str], references: Sequence[str]) -> tuple[Asked, ...]:
    """The reference, then the variants in the order of their first mention.

    `models` are [NAME=]WHAT; members of one NAME are one population, and without one it is told by the file.
    Raises InputError where nothing is compared, where a name is the reference's, and for a network that is twice in one
    population: it would be counted as two.
    """
    for option, given in (("--model", models), ("--reference", references)):
        if not given:
            raise InputError(f"{option}: found none; accepted is at least one: {ACCEPTED}")
    members: dict[str, list[str]] = {REFERENCE_ID: list(references)}
    for text in models:
        name, what = _named(text)
        if name == REFERENCE_ID:
            raise InputError(
                f"--model: found {text!r}, called {REFERENCE_ID} as the reference is in all tables; "
                "accepted is another name, NAME=WHAT"
            )
        members.setdefault(name, []).append(what)
    for name, networks in members.items():
        doubled = [one for one in dict.fromkeys(networks) if networks.count(one) > 1]
        if doubled:
            option = "--reference" if name == REFERENCE_ID else "--model"
            raise InputError(f"{option}: found {doubled[0]} twice in one population; accepted is each network once")
    return tuple(Asked(name, tuple(networks)) for name, networks in members.items())


def _named(text: str) -> tuple[str, str]:
    name, equals, what = text.partition("=")
    if equals and _NAME.fullmatch(name) and not Path(text).exists():
        if not what:
            raise InputError(f"--model: found {text!r} without a network; accepted is NAME=WHAT, WHAT being {ACCEPTED}")
        return name, what
    return _default_name(text), text


def _default_name(what: str) -> str:
    """The variant's of a member of ours, the function's, or the file's without its suffix."""
    member = member_address(what)
    if member is not None:
        return member.variant_id
    if is_function(what):
        return what.rpartition(":")[2]
    return PurePosixPath(what).stem


def member_address(what: str) -> MemberAddress | None:
    """The member of a sweep that WHAT is; None of anything else."""
    place = PurePosixPath(what)
    if place.suffix == CHECKPOINT:
        parts = place.parts
        # The folder's address keeps its `s3://`, which a path would make `s3:/`.
        if len(parts) >= 4 and parts[-3] == "checkpoints" and place.stem.isdigit():
            return MemberAddress(what.removesuffix("/".join(parts[-3:])).rstrip("/"), parts[-2], int(place.stem))
        return None
    found = _MEMBER.fullmatch(what)
    return None if found is None else MemberAddress(found["results"], found["variant"], int(found["seed"]))


def is_function(what: str) -> bool:
    """Whether WHAT is `module:function`."""
    return _FUNCTION.fullmatch(what) is not None
