"""The arguments of each command and their documentation; nothing heavy is imported to show them."""
