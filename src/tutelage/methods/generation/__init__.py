"""Parts shared by the methods that generate texts."""
