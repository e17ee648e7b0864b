"""What must always hold in a machine; tests check it after every event."""
