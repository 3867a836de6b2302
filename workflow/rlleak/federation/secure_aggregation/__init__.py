"""Secure aggregation: a server that learns the sum of its clients' updates, and of no update more than that.

After Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (CCS), Figure 4, for
a server that is honest but curious: it keeps to the protocol, sees every message, and may know the secrets of fewer
than `threshold` clients. Four rounds of messages (`client.Client`, `server.Server`; `rounds.securely_summed` carries
them): public keys; shares of each client's secrets; masked updates; the shares that take the masks off the sum. Clients
may fall silent before any of them, as long as `threshold` are left.

**Not covered**: an active adversary. Keys are not signed and nobody checks that all clients were told of the same
survivors (the paper's round 3, "consistency check"), so a server that lies about who is there, or that plays clients
itself, can unmask a single update. A client that lies about its update spoils the sum unseen. And the sum itself is not
protected: what it leaks about those who are in it is another question, which attacks answer. Nor are several rounds: a
client that sends in two rounds what is nearly the same, as one with the same transitions and hardly moved parameters
does, is told by the difference of two sums if it is in one of them alone (So et al. 2023, "Securing Secure Aggregation:
Mitigating Multi-Round Privacy Leakage in Federated Learning", AAAI). Of one round there is one sum: who runs the
protocol sees to that, since a second one over other survivors would tell an update exactly
(`rlleak.federation.flower.protocol.answered`).
"""
