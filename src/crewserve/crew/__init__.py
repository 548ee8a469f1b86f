"""The only place that imports CrewAI: template, children, and the host that talks to them."""
