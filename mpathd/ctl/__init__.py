"""mpathctl: the command line, which talks to mpathd over D-Bus and to nothing else."""
