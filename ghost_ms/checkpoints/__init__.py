"""What a checkpoint says of its network, and which network the user means."""
