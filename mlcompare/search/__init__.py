"""What is tried next: search spaces, proposals, and racing."""
