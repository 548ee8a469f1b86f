"""What both servers run."""
