"""The networks, plain torch: usable without Lightning, without a cohort and without any other room of this house."""

from seizurelit.models.agcn import Agcn
from seizurelit.models.tcn import Tcn

__all__ = ["Agcn", "Tcn"]
