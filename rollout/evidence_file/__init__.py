"""Evidence as a file: JSON lines, one object per gate, stratum and interval. docs/evidence.md describes it.

    {"v":1,"t":"2026-11-21T10:00:05Z","gate":"errors","canary":{"total":500,"bad":5},
     "baseline":{"total":9500,"bad":10}}

The writer survives being killed in the middle of a line: the next one to open the file removes the torn line
and says so. The reader guesses nothing: whatever is not understood is an error with file and line.
"""

from rollout.evidence_file.reading import read_evidence
from rollout.evidence_file.records import Header, Mark, Recording
from rollout.evidence_file.times import format_time, parse_time
from rollout.evidence_file.writing import EvidenceWriter

__all__ = [
    "EvidenceWriter",
    "Header",
    "Mark",
    "Recording",
    "format_time",
    "parse_time",
    "read_evidence",
]
