"""The overview of a cluster: observers ask, the coordinator and the members tell."""
