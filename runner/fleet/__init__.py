"""Where workers live: `ray` (one actor a slot) or `local` (all in this process). Both are `seams.Fleet`."""
