"""The review: people look at flagged cases in a browser, decide, and every decision is kept in a log that only grows.

``cases`` reads what ``trustseg predict`` wrote, ``storage`` and ``chain`` keep the log, ``state`` says what follows
from it, ``access`` and ``server`` let people in, ``summary`` and ``export`` count and hand out. Nothing here loads a
model, or torch but to name the attack of a recorded picture.
"""
