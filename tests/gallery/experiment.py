"""An experiment whose parameter picks one of the gallery's models."""

from typing import Any

import keras
from models import CASES


def load_data(case: str = "residual_cnn") -> Any:
    return CASES[case].data()


def build_model(case: str = "residual_cnn") -> keras.Model:
    return CASES[case].build()
