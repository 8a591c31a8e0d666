"""The plan: what init does to make a container, as data.

`operations` defines the vocabulary, `compile` turns a spec into a plan, `encode` turns a plan into bytes,
`explain` prints it.
"""
