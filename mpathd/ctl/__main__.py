"""python -m mpathd.ctl, for a clone that is not installed."""

import sys

from .main import main

sys.exit(main())
