"""The commands: `run(args, settings)` in a module named after the command; rows in `youki.options`."""
