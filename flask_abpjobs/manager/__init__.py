"""One way to enqueue jobs, and its providers."""

from .base import BackgroundJobManager as BackgroundJobManager, ManagerSetup as ManagerSetup
from .huey import HueyJobManager as HueyJobManager
from .inline import InlineJobManager as InlineJobManager
from .null import NullJobManager as NullJobManager
from .records import Caller as Caller
