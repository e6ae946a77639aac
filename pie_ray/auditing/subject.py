"""What networks are audited on: `--data` and `--suites`, read and opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checked_yaml import Document
from ..config import Config, Data, Evaluation
from ..data import Splits, Suites, load_for_evaluation, open_suites
from ..errors import DataError, InputError, RecipeError
from ..recipe import read_suites

TEST_FOLDER = "test"


class Subject(Config):
    """The images, and how their answers are compared; a recipe has both under the same names."""

    data: Data
    evaluation: Evaluation = Evaluation()


_DOCUMENT = Document("description of the data", Subject, RecipeError)
_ACCEPTED = (
    "a YAML file with a section `data` (a recipe has one), such a section, '{kind: image_folder, path: FOLDER}', or "
    f"a folder of images, {TEST_FOLDER}/<class>/<image> or <class>/<image>"
)


@dataclass(frozen=True)
class Opened:
    """A subject, its test images and its suites."""

    subject: Subject
    splits: Splits
    suites: Suites


def read_subject(data: str, suites: str | None) -> Subject:
    """`data` is --data, `suites` the file of further evaluation sets. Raises RecipeError, DataError, InputError."""
    raw = _raw(data)
    evaluation = dict(raw.get("evaluation") or {}) if isinstance(raw.get("evaluation", {}), dict) else raw["evaluation"]
    if isinstance(evaluation, dict):
        # A recipe's own suites may be hours of work, which an audit does on request.
        evaluation["suites"] = {} if suites is None else read_suites(suites)
    return _DOCUMENT.check({"data": raw["data"], "evaluation": evaluation}, f"--data {data}")


def _raw(data: str) -> dict[str, Any]:
    path = Path(data).expanduser()
    if path.is_dir():
        return {"data": _image_folder(path)}
    if path.is_file():
        found = _DOCUMENT.parse_mapping(_DOCUMENT.read(str(path)), data)
    elif data.lstrip().startswith("{"):
        found = _DOCUMENT.parse_mapping(data, "--data")
    else:
        raise InputError(f"--data: found no file or folder {data} (seen from {Path.cwd()}); accepted is {_ACCEPTED}")
    if "data" in found:
        return found
    if "kind" in found:
        return {"data": found}
    raise InputError(f"--data: found the keys {', '.join(found) or 'none'} in {data}; accepted is {_ACCEPTED}")


def _image_folder(path: Path) -> dict[str, str]:
    """The test split below a folder, or the folder itself."""
    if (path / TEST_FOLDER).is_dir():
        return {"kind": "image_folder", "path": str(path)}
    whole = path.absolute()
    return {"kind": "image_folder", "path": str(whole.parent), "test_split": whole.name}


def open_subject(subject: Subject) -> Opened:
    """Decode the test images, and open the suites. Raises DataError as `load_splits` does, and for attributes."""
    splits = load_for_evaluation(subject.data)
    if splits.test.is_multilabel:
        raise DataError(
            f"--data: found {len(splits.test.class_names)} attributes learned jointly; accepted is data of one label "
            "an example"
        )
    return Opened(subject, splits, open_suites(subject.evaluation.suites, splits))
