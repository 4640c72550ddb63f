"""``python -m studylib``."""

import sys

from studylib.cli.cli import main

sys.exit(main())
