"""The only maker of paths, all relative to one sweep's storage.

`<storage>/<sweep name>/`
    recipe.yaml  manifest.json
    examples/<evaluation set>.parquet
    checkpoints/<variant_id>/<seed>.safetensors
    predictions/<suite>/<variant_id>/<seed>.parquet
    members/<variant_id>/<seed>.json                      a MemberRecord, written last
    progress.json                                         a SweepProgress, rewritten by the driver
    drivers/<id>.json                                     who drives the sweep, while it runs (see `lease`)
    analysis/<table>.parquet  analysis/figures/<name>.png
    report/index.html

`<storage>/_images/`, shared by all sweeps of a storage
    <fingerprint of an evaluation set>/<first row>.parquet
"""

from __future__ import annotations

RECIPE = "recipe.yaml"
MANIFEST = "manifest.json"
PROGRESS = "progress.json"
REPORT = "report/index.html"

CHECKPOINTS = "checkpoints"
MEMBERS = "members"
DRIVERS = "drivers"
EXAMPLES = "examples"

IMAGES = "_images"
"""No sweep has this name: theirs begin with a letter or a digit."""


def examples(evaluation_set: str) -> str:
    return f"{EXAMPLES}/{evaluation_set}.parquet"


def checkpoint(variant_id: str, seed: int) -> str:
    return f"{CHECKPOINTS}/{variant_id}/{seed}.safetensors"


def suite_predictions(suite: str) -> str:
    """The folder of a suite's predictions."""
    return f"predictions/{suite}"


def predictions(suite: str, variant_id: str, seed: int) -> str:
    return f"{suite_predictions(suite)}/{variant_id}/{seed}.parquet"


def member(variant_id: str, seed: int) -> str:
    return f"{MEMBERS}/{variant_id}/{seed}.json"


def driver(driver_id: str) -> str:
    return f"{DRIVERS}/{driver_id}.json"


def image_part(fingerprint: str, start: int) -> str:
    """Relative to `IMAGES`."""
    return f"{fingerprint}/{start:08d}.parquet"


def table(name: str) -> str:
    return f"analysis/{name}.parquet"


def figure(name: str) -> str:
    return f"analysis/figures/{name}.png"
