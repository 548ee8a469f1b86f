"""The app of `crewserve serve`: only the flows that the command line named."""

from crewserve.bootstrap import create_app, include_flow
from crewserve.http.flow_router import flow_router
from crewserve.settings import Settings

_settings = Settings()
app = create_app(settings=_settings)
for _ref in _settings.flows:
    include_flow(app, flow_router(_ref))
