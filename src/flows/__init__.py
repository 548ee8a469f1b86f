"""The CrewAI flows of this deployment, each in a folder of its own: `flows.<name>.main`."""
