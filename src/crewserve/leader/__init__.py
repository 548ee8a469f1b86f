"""Several processes on one host: one leads, the others have it do what only one may."""
