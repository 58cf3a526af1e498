"""Will this user like this item? All that is special to the clicks task."""
