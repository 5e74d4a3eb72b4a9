"""`python -m lltc.cli`: the shell where the `lltc` script is not on the path."""

from lltc.cli.app import main

main()
