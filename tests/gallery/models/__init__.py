"""The gallery's cases by name."""

from . import generative, images, sequences, styles, tabular

CASES = images.CASES | sequences.CASES | tabular.CASES | generative.CASES | styles.CASES
