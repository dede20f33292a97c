"""What this machine can run, what it can't and why."""
