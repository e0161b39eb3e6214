"""`python -m govern.cli` is `govern`."""

import sys

from govern.cli import main

sys.exit(main())
