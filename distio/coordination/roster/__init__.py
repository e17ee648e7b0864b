"""The roster: clients ask which members there are, or wait until there are enough."""
