"""PIEs for the people downstream: lists for programs and spreadsheets, tasks for annotators. Frames in, bytes out."""

from __future__ import annotations

from .addresses import LOCAL_FILES, check_file_keys, image_address
from .fiftyone import fiftyone_samples
from .label_studio import Addresses, label_studio_tasks, labeling_config
from .listing import answer_columns, by_example, check_names, choose, free_name, named_pies
from .pictures import picture_bytes, picture_path
from .text import csv_bytes, json_bytes, json_lines

__all__ = [
    "LOCAL_FILES",
    "Addresses",
    "answer_columns",
    "by_example",
    "check_file_keys",
    "check_names",
    "choose",
    "csv_bytes",
    "fiftyone_samples",
    "free_name",
    "image_address",
    "json_bytes",
    "json_lines",
    "label_studio_tasks",
    "labeling_config",
    "named_pies",
    "picture_bytes",
    "picture_path",
]
