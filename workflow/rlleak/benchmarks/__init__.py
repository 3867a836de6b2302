"""How fast the attacks are, beside plain autograd on the same machine in the same minutes: `make bench`."""
