"""The Evaluator that measures held-out records in whole columns: no Beam where they fit in memory."""
