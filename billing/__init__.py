"""What it costs and who owes."""
