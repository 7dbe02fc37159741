"""What the mesh carries out of each field of policy."""

from meshware.policy.support.status import Status, Support
from meshware.policy.support.table import SUPPORT, is_partly_done, support_of

__all__ = ["SUPPORT", "Status", "Support", "is_partly_done", "support_of"]
