"""Attacks on whole transitions (s, a, r, s') from the gradient of a temporal-difference loss."""
