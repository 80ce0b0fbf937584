"""The worker's side: everything that touches TensorFlow and Keras. Imported only inside worker processes."""
