"""Who may administer: the bearer of the admin token."""

from __future__ import annotations

import hmac

from dichroic.errors import AdminOnlyError, NoCredentialError
from services.settings import Settings

SCHEME = "bearer "


def require_admin(settings: Settings, authorization: str) -> None:
    """Checks an `authorization` header or metadata value.

    Raises:
        AdminOnlyError: this server grants the admin role to nobody.
        NoCredentialError: no token, or a wrong one.
    """
    if settings.admin_token is None:
        raise AdminOnlyError("This server grants the admin role to nobody. Set DICHROIC_ADMIN_TOKEN on the server to use this call.")
    if not authorization.lower().startswith(SCHEME):
        raise NoCredentialError("This call needs the admin role: send 'authorization: Bearer <token>'.")
    given = authorization[len(SCHEME) :].strip(" ").encode("utf-8")
    wanted = settings.admin_token.get_secret_value().encode("utf-8")
    # Constant time: the answer's timing must not tell how much of a guess was right.
    if not given or not hmac.compare_digest(given, wanted):
        raise NoCredentialError("The admin token is wrong.")
