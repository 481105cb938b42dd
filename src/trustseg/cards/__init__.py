"""Model cards from the records next to a model: for the Hugging Face Hub, and the CHAI Applied Model Card.

Nothing in a card is typed by hand or made up: a figure comes from an evaluation of this very model, a fact from a file
of its run, and what only the user can know is marked ``user``. The texts are Jinja templates.
"""

from trustseg.cards.documents import chai_card, hugging_face_card
from trustseg.cards.facts import USER, CardFacts, Measured, read_facts

__all__ = ["USER", "CardFacts", "Measured", "chai_card", "hugging_face_card", "read_facts"]
