"""What a student learns from."""
