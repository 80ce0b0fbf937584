"""Prints TensorFlow's version and GPUs as a line of JSON, in a process of its own, which takes no GPU."""

from __future__ import annotations

import json
import os


def main() -> None:
    """Prints versions, TensorFlow's build and its number of GPUs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    found = {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
        "gpus": len(tf.config.list_physical_devices("GPU")),  # lists them without taking their memory
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
