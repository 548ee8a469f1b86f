"""Routes that exist whatever flows are served."""
