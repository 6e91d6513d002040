"""The benchmarks: what `firstring bench` measures, and the generator of the customers it measures with."""
