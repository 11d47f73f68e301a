"""How a job runs: the server that it forks from, its device, how it ends."""
