"""`python -m snakemux pkg:name [options]` serves a worker."""

from .command_line import main

main()
