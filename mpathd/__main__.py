"""`python -m mpathd` is mpathd."""

from .app import main

main()
