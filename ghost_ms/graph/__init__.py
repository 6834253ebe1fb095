"""An exported graph, looked through and read back."""
