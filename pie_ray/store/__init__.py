"""The results of a sweep on local or object storage: the only home of Parquet, of paths and of column names."""

from . import paths, schema
from .checkpoints import read_checkpoint, read_checkpoint_metadata, write_checkpoint
from .examples import Examples, read_examples, write_examples
from .image_parts import has_image_part, read_image_part, write_image_part
from .lease import Sighting, find_driver, hold_lease
from .leftovers import remove_leftovers
from .manifest import Manifest, claim, is_claimed, read_manifest
from .members import Completeness, completeness, read_record, read_records, write_record
from .prediction_file import write_predictions
from .progress_file import read_progress, write_progress
from .reader import Population, PredictionStore
from .sinks import MemorySink, ParquetSink, Sink, SuiteSink
from .storage import Storage
from .stored_suites import stored_top1
from .tables import frame_bytes, read_table, write_table
from .writer import PredictionCollector, prediction_batch

__all__ = [
    "Completeness",
    "Examples",
    "Manifest",
    "MemorySink",
    "ParquetSink",
    "Population",
    "PredictionCollector",
    "PredictionStore",
    "Sighting",
    "Sink",
    "Storage",
    "SuiteSink",
    "claim",
    "completeness",
    "find_driver",
    "frame_bytes",
    "has_image_part",
    "hold_lease",
    "is_claimed",
    "paths",
    "prediction_batch",
    "read_checkpoint",
    "read_checkpoint_metadata",
    "read_examples",
    "read_image_part",
    "read_manifest",
    "read_progress",
    "read_record",
    "read_records",
    "read_table",
    "remove_leftovers",
    "schema",
    "stored_top1",
    "write_checkpoint",
    "write_examples",
    "write_image_part",
    "write_predictions",
    "write_progress",
    "write_record",
    "write_table",
]
