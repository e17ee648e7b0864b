"""Log records travel to the programs whose fibers wrote them, levels travel back."""
