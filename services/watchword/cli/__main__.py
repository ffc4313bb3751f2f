"""Makes `python -m watchword.cli` the same as `watchword`."""

from watchword.cli.main import main

main()
