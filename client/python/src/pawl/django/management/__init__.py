"""Management commands of pawl."""
