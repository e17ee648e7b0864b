"""The states of member and coordinator; all conversations import them, they import none."""
