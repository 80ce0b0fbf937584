"""What a sweep shows: figures, the page of all figures, and its results in the formats of other programs."""
