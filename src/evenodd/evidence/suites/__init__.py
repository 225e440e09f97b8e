"""The project's own behaviour suite: its wording, what builds it, and the file."""
