"""The project's own behaviour suite: its wording, the code that builds it, and the CSV file."""
