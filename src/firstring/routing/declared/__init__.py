"""The routing policy as people declare it: TOML, checked."""
