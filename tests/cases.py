"""An experiment file whose parameter picks one of the models beside it."""

import keras
from models import CASES

from runner import Data


def load_data(case: str = "functional") -> Data:
    return Data.of(CASES[case].data())


def build_model(case: str = "functional") -> keras.Model:
    return CASES[case].build()
