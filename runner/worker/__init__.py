"""The worker's side: everything that touches TensorFlow and Keras.

Imported only inside worker processes, but for `startup`, which imports neither before it makes one of them a worker.
"""
