"""The command line of the container runtime: one module per command, thin: parse, call the library, print."""
