"""What the world sees over HTTP."""
