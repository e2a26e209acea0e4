"""`python -m npstyle.cli` is the command line."""

from npstyle.cli.main import main

main()
