"""Federated rounds over Flower: the same clients and server, as processes that talk through a SuperLink."""
