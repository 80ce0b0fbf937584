"""The worker's side: everything that touches TensorFlow and Keras.

Imported only in worker processes, except `startup`, which imports neither until it makes the process a worker.
"""
