"""Analyse a results folder as a Ray job: `ray job submit --working-dir . -- python jobs/analyze.py RESULTS`.

Computes the PIEs, class impact and reduced-set evaluation, a task a variant, wherever the cluster has room; then
writes tables, figures and the report, and logs them.
"""

import sys

from pie_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["analyze", "--address", "auto", *sys.argv[1:]]))
