"""What a command does, as one public call each."""
