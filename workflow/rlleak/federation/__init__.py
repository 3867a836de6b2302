"""Rounds of federated training: clients that play and share, a server that takes the mean and keeps what it sees."""
