"""Which mechanism made it so, how sure are we, and where to measure next? Mechanisms to parts and variances, and sessions: numpy in, numpy out."""

from services.mechanism.answers import Observed, Predicted, SessionDeleted, SessionMade, Suggested
from services.mechanism.inputs import Given
from services.mechanism.room import MechanismRoom

__all__ = ["Given", "MechanismRoom", "Observed", "Predicted", "SessionDeleted", "SessionMade", "Suggested"]
