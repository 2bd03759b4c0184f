"""What runs, in what order: flows, deployments, the command line. No mathematics."""
