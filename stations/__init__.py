"""Things in the field and the talk with them."""
