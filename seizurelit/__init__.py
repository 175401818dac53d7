"""Semiologic signs in seizure videos, classified leave-one-subject-out, with honest tables."""

__version__ = "0.1.0"
