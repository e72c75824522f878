"""One module for each sub-command of `python -m training`: `add_arguments(parser)` and `run(arguments) -> int`."""
