"""Code that isn't the same everywhere: fibers go where it is as they were saved with."""
