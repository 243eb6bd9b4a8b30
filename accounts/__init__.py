"""Who: people, operators, tokens, keys and what each may do."""
