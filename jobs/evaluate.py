"""Evaluate a finished sweep on further sets as a Ray job: `ray job submit --working-dir . -- python jobs/evaluate.py
RESULTS SUITES.yaml`.

Makes or reads the images once, predicts with every trained member on what it lacks, then analyses and reports.
"""

import sys

from pie_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", "--address", "auto", *sys.argv[1:]]))
