"""What methods that write texts share."""
