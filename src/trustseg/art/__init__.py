"""Our models as estimators of the Adversarial Robustness Toolbox (ART), whose attacks expect classifiers.

A mask is not a class: ART's classifiers attack an all-ones mask where none is given, and divide a given one by its sum.
``Segmentation`` is an estimator for masks, on which ART's gradient attacks run unchanged; ``run_art`` runs one of them
under the contract of ``trustseg.attacks``, which describes the arguments and errors. Needs the extra ``art``.

Reference:
    Nicolae et al., "Adversarial Robustness Toolbox v1.0.0", 2018, arXiv:1807.01069.
"""

from trustseg.errors import MissingPackageError

try:
    import art  # noqa: F401 - asked for once, here
except ImportError as error:
    raise MissingPackageError(
        "the Adversarial Robustness Toolbox is not installed, expected it for its attacks; "
        "run: pip install 'trustseg[art]'"
    ) from error

from trustseg.art.attacks import ART_ATTACKS, random_start, run_art
from trustseg.art.estimator import Segmentation

__all__ = ["ART_ATTACKS", "Segmentation", "random_start", "run_art"]
