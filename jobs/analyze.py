"""Analyse a results folder as a Ray job: `ray job submit --working-dir . -- python jobs/analyze.py RESULTS`.

Computes the PIEs, class impact and reduced-set evaluation, a task a variant, and robustness, a task some corrupted
sets, wherever the cluster has room, then draws the figures and writes the report; all of it is logged.
"""

import sys

from pie_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["analyze", "--address", "auto", *sys.argv[1:]]) or main(["report", *sys.argv[1:]]))
