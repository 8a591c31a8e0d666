"""config.json: load it, check it, describe it, and make a default one.

Nothing is imported here: take the module you need.
"""
