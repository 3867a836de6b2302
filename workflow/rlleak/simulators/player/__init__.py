"""The rooms player: a process that answers ai2thor 5.0.0's protocol with the project's own rooms instead of Unity's."""
