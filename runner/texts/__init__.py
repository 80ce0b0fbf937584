"""Text as it may be recorded and shown: secrets masked, valid Unicode, long output shortened."""
