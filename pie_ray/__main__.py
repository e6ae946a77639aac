"""`python -m pie_ray` is `pie-ray`."""

import sys

from .cli import main

sys.exit(main())
