"""What networks cost, and whether their files agree with them."""
