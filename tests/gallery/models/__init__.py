"""The gallery's cases by name."""

from . import convolutions, generative, images, parts, sequences, styles, tabular

CASES = images.CASES | sequences.CASES | tabular.CASES | generative.CASES | styles.CASES
CASES |= convolutions.CASES | parts.CASES
