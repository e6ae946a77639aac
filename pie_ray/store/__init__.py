"""The results of a sweep on local or object storage: the only home of Parquet, of paths and of column names."""

from . import paths, schema
from .checkpoints import compressed_size, read_checkpoint, read_checkpoint_metadata, write_checkpoint
from .examples import Examples, read_examples, write_examples
from .image_parts import has_image_part, read_image_part, write_image_part
from .latency_file import read_latency, write_latency
from .lease import Sighting, find_driver, hold_lease
from .leftovers import remove_leftovers
from .manifest import Manifest, claim, is_claimed, read_manifest
from .map_similarities import (
    MapPair,
    MapSimilarities,
    has_map_similarities,
    map_pairs,
    read_map_similarities,
    write_map_similarities,
)
from .members import Completeness, complete_record, completeness, read_record, read_records, write_record
from .population_file import read_population, write_population
from .prediction_file import write_predictions
from .progress_file import read_progress, write_progress
from .reader import Population, PredictionStore
from .sinks import MemorySink, ParquetSink, Sink, SuiteSink
from .sizes import predictions_size
from .storage import Storage
from .stored_suites import stored_top1
from .tables import frame_bytes, read_file_metadata, read_table, write_table, write_table_file
from .training_states import delete_training_state, read_training_state, write_training_state
from .writer import PredictionCollector, prediction_batch

__all__ = [
    "Completeness",
    "Examples",
    "Manifest",
    "MapPair",
    "MapSimilarities",
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
    "complete_record",
    "completeness",
    "compressed_size",
    "delete_training_state",
    "find_driver",
    "frame_bytes",
    "has_image_part",
    "has_map_similarities",
    "hold_lease",
    "is_claimed",
    "map_pairs",
    "paths",
    "prediction_batch",
    "predictions_size",
    "read_checkpoint",
    "read_checkpoint_metadata",
    "read_examples",
    "read_file_metadata",
    "read_image_part",
    "read_latency",
    "read_manifest",
    "read_map_similarities",
    "read_population",
    "read_progress",
    "read_record",
    "read_records",
    "read_table",
    "read_training_state",
    "remove_leftovers",
    "schema",
    "stored_top1",
    "write_checkpoint",
    "write_examples",
    "write_image_part",
    "write_latency",
    "write_map_similarities",
    "write_population",
    "write_predictions",
    "write_progress",
    "write_record",
    "write_table",
    "write_table_file",
    "write_training_state",
]
