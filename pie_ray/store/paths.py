"""The only maker of paths, all relative to one sweep's storage.

`<storage>/<sweep name>/`
    recipe.yaml  manifest.json
    examples/<evaluation set>.parquet
    checkpoints/<variant_id>/<seed>.safetensors
    training/<variant_id>/<seed>.state                    a member in the middle of its training, while that lasts
    predictions/<suite>/<variant_id>/<seed>.parquet
    members/<variant_id>/<seed>.json                      a MemberRecord, written last
    attributions/<variant_id>/<seed>.parquet              how alike maps are to the reference member's
    latency.json                                          a LatencyRecord: one measurement of all variants
    population.json                                       a PopulationRecord: sizes of an adaptive population
    progress.json                                         a SweepProgress, rewritten by the driver
    drivers/<id>.json                                     who drives the sweep, while it runs (see `lease`)
    analysis/<table>.parquet  analysis/figures/<name>.png
    report/index.html

`<storage>/<audit's name>/`, of networks that were made elsewhere
    predictions.parquet                                   the predictions, and in its metadata what was audited
    analysis/  report/                                    as above

`<storage>/_images/`, shared by all sweeps of a storage
    <fingerprint of an evaluation set>/<first row>.parquet
"""

from __future__ import annotations

RECIPE = "recipe.yaml"
MANIFEST = "manifest.json"
PROGRESS = "progress.json"
LATENCY = "latency.json"
POPULATION = "population.json"
REPORT = "report/index.html"
PREDICTIONS = "predictions.parquet"
"""Of an audit: of all its networks on all sets, as `analyze --predictions` reads them."""

CHECKPOINTS = "checkpoints"
TRAINING = "training"
MEMBERS = "members"
DRIVERS = "drivers"
EXAMPLES = "examples"
ANALYSIS = "analysis"

IMAGES = "_images"
"""No sweep has this name: theirs begin with a letter or a digit."""


def examples(evaluation_set: str) -> str:
    return f"{EXAMPLES}/{evaluation_set}.parquet"


def checkpoint(variant_id: str, seed: int) -> str:
    return f"{CHECKPOINTS}/{variant_id}/{seed}.safetensors"


def training_state(variant_id: str, seed: int) -> str:
    return f"{TRAINING}/{variant_id}/{seed}.state"


def suite_predictions(suite: str) -> str:
    """The folder of a suite's predictions."""
    return f"predictions/{suite}"


def predictions(suite: str, variant_id: str, seed: int) -> str:
    return f"{suite_predictions(suite)}/{variant_id}/{seed}.parquet"


def map_similarities(variant_id: str, seed: int) -> str:
    """`seed` is the reference member's."""
    return f"attributions/{variant_id}/{seed}.parquet"


def member(variant_id: str, seed: int) -> str:
    return f"{MEMBERS}/{variant_id}/{seed}.json"


def driver(driver_id: str) -> str:
    return f"{DRIVERS}/{driver_id}.json"


def image_part(fingerprint: str, start: int) -> str:
    """Relative to `IMAGES`."""
    return f"{fingerprint}/{start:08d}.parquet"


def table(name: str) -> str:
    return f"{ANALYSIS}/{name}.parquet"


def figure(name: str) -> str:
    return f"{ANALYSIS}/figures/{name}.png"
