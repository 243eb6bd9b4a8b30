"""What happened at the plug."""
