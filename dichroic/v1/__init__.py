"""Generated from protos/dichroic/v1 by `make protos`. Do not edit the modules beside this one."""
