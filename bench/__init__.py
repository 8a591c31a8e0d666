"""The benchmark: this runtime beside crun, runc and the kernel's own floor. `python -m bench --help`."""
