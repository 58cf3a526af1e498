"""TFX components that TFX itself lacks, one folder each: `component.py` declares it, `executor.py` runs it."""
