"""Run a sweep as a Ray job: `ray job submit --working-dir . -- python jobs/sweep.py RECIPE [--set KEY=VALUE ...]`.

The driver connects to the cluster that it was submitted to, and goes on with whatever the results folder lacks.
"""

import sys

from pie_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["sweep", "--address", "auto", *sys.argv[1:]]))
