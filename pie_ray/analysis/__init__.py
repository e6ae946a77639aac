"""From predictions to tables: statistics of every variant against the reference. No Ray, no torch.

Works on partial results: populations are compared with the members that are there, and the missing ones are named.
"""

from __future__ import annotations

from .answers import answers_of
from .evaluation_sets import CORRUPTION, NATURAL, SetKind, clean_set, kind_of
from .evidence_file import Evidence, read_evidence
from .imported import (
    Audit,
    AuditedMember,
    ImportedPredictions,
    is_audit,
    open_audit,
    open_predictions,
    read_audit,
    write_audit,
)
from .planning import plan_members
from .populations import decide, kin_of, rule_of, sizes_of
from .results import Results, open_results
from .source import ExampleFacts, PopulationSource, VariantInfo
from .tables import Analysis, Mapper, analyze, load_analysis, load_tables, write_costs

__all__ = [
    "CORRUPTION",
    "NATURAL",
    "Analysis",
    "Audit",
    "AuditedMember",
    "Evidence",
    "ExampleFacts",
    "ImportedPredictions",
    "Mapper",
    "PopulationSource",
    "Results",
    "SetKind",
    "VariantInfo",
    "analyze",
    "answers_of",
    "clean_set",
    "decide",
    "is_audit",
    "kin_of",
    "kind_of",
    "load_analysis",
    "load_tables",
    "open_audit",
    "open_predictions",
    "open_results",
    "plan_members",
    "read_audit",
    "read_evidence",
    "rule_of",
    "sizes_of",
    "write_audit",
    "write_costs",
]
