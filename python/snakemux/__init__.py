"""A worker library: functions become commands that callers reach over gRPC, one by one or as streams."""

from .context import Context
from .errors import Error
from .version import __version__
from .worker import Worker

__all__ = ["Context", "Error", "Worker", "__version__"]
